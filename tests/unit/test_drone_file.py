"""`.drone.yml` as the runner decodes it, with lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.pipeline.drone import Condition, FromSecret, PipelineError, Text, parse
from runnerkit.pipeline.globs import matches

FILE = """\
kind: secret
name: token
---
kind: pipeline
type: docker
name: build

x-common: &common
  pull: never

steps:
  - name: test
    <<: *common
    image: app:1.10
    commands:
      - make test
      - |
        echo one
        echo two
    environment:
      VERSION: 1.10
      EMPTY:
      TOKEN: {from_secret: token}
    settings:
      count: 3
      password: {from_secret: secret}
    when:
      branch: main
      event: [push, tag]
      status: {exclude: [success]}

volumes:
  - name: docker
    host: {path: /var/run/docker.sock}
  - name: scratch
    temp: {}
---
kind: pipeline
type: exec
name: elsewhere
"""


def test_only_docker_pipelines_are_read_and_values_stay_as_written() -> None:
    [pipeline] = parse(FILE)
    [step] = pipeline.steps
    assert (pipeline.title, pipeline.line) == ("build", 4)
    assert (step.name, step.image, step.pull) == ("test", "app:1.10", "never")
    assert step.commands == ("make test", "echo one\necho two\n")
    assert step.environment == {"VERSION": "1.10", "TOKEN": FromSecret(Text("token", 0))}
    assert step.settings == {"count": 3, "password": FromSecret(Text("secret", 0))}
    assert step.when == {
        "branch": Condition((Text("main", 0),)),
        "event": Condition((Text("push", 0), Text("tag", 0))),
        "status": Condition((), (Text("success", 0),)),
    }
    docker, scratch = pipeline.volumes
    assert (docker.host, docker.temp) == ("/var/run/docker.sock", False)
    assert (scratch.host, scratch.temp) == (None, True)


def test_every_value_knows_its_line() -> None:
    [pipeline] = parse(FILE)
    [step] = pipeline.steps
    lines = FILE.splitlines()
    assert lines[step.line - 1].strip() == "- name: test"
    assert lines[step.image.line - 1].strip() == "image: app:1.10"
    assert [lines[command.line - 1].strip() for command in step.commands] == ["- make test", "- |"]
    assert lines[step.line_of("when") - 1].strip() == "when:"
    assert step.line_of("user") == step.line


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("kind: pipeline\ntype: docker\nsteps: {a: b}", 3, "steps should be a list"),
        ("kind: pipeline\ntype: docker\nsteps:\n- image: x", 4, "a step without a name"),
        ("kind: pipeline\ntype: docker\nsteps:\n- name: x\n  commands: make", 5, "commands should"),
        ("kind: pipeline\ntype: docker\nsteps:\n- name: x\n  image: [y]", 5, "image should be te"),
        ("kind: pipeline\ntype: docker\nsteps:\n- name: x\n  detach: perhaps", 5, "detach should"),
        ("kind: pipeline\ntype: docker\nclone:\n  depth: deep", 4, "depth should be a number"),
        ("kind: pipeline\n\tname: x", 2, "no YAML"),
        ("- a list", 1, "a document should be a mapping"),
        ("kind: [", 1, "no YAML"),
    ],
)
def test_what_the_runner_cannot_decode_is_named_with_its_line(
    text: str, line: int, what: str
) -> None:
    with pytest.raises(PipelineError) as raised:
        parse(text)
    assert raised.value.line == line
    assert raised.value.what.startswith(what)


@given(st.text(alphabet="kindpe:-[]{}&*<|>!#?\"' \n\t", max_size=60))
def test_any_text_is_read_or_refused_with_a_line_of_it(text: str) -> None:
    refused = None
    try:
        read = parse(text)
    except PipelineError as error:
        refused = error
    if refused is None:
        assert read == ()  # whatever it was, it names no Docker pipeline
    else:
        assert 1 <= refused.line <= len(text.splitlines()) + 1


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("main", "main", True),
        ("main", "main2", False),
        ("feature/*", "feature/a", True),
        ("feature/*", "feature/a/b", False),
        ("feature/**", "feature/a/b", True),
        ("**/ready", "a/b/ready", True),
        ("**/ready", "ready", True),
        ("v?.[0-9]", "v1.2", True),
        ("v?.[^0-9]", "v1.2", False),
        ("{main,release-*}", "release-2", True),
        ("{main,release-*}", "dev", False),
        ("refs/tags/*", "refs/tags/v1.0", True),
        ("a.b", "axb", False),
        ("{open", "{open", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected
