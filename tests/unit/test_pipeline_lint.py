"""`pipeline lint`: every rule on files that are wrong in one way, and on files that are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerkit.errors import ConfigError
from runnerkit.pipeline.dockerfile import DockerfileError, dockerignore_leaves_out, parse_dockerfile
from runnerkit.pipeline.drone import PipelineError, parse
from runnerkit.pipeline.files import load_project
from runnerkit.pipeline.fixing import diff, fixed
from runnerkit.pipeline.formats import FORMATS, as_github, as_json, as_sarif, as_text
from runnerkit.pipeline.lint import IGNORE_RULE, Hit, lint
from runnerkit.pipeline.project import Project, reference
from runnerkit.pipeline.rule import all_rules
from runnerkit.pipeline.shell_text import commands_of

CORPUS = Path(__file__).parent.parent / "corpus"
WRONG = sorted((CORPUS / "wrong").iterdir())
RIGHT = sorted((CORPUS / "right").iterdir())


def project_of(folder: Path) -> Project:
    return load_project(folder, trusted=not (folder / "untrusted").exists())


def dockerfile(text: str) -> Project:
    return Project({"Dockerfile": parse_dockerfile(text)})


def pipeline(text: str) -> Project:
    return Project(drone=text, pipelines=parse(text))


@pytest.mark.parametrize("folder", WRONG, ids=lambda path: path.name)
def test_what_is_wrong_in_one_way_triggers_that_rule_and_no_other(folder: Path) -> None:
    hits = lint(project_of(folder))
    assert {hit.rule.id for hit in hits} == {folder.name.partition("--")[0]}
    texts = project_of(folder).texts
    for hit in hits:
        assert 1 <= hit.finding.line <= len(texts[hit.finding.file].splitlines())
        assert hit.finding.message
        assert hit.finding.fix


@pytest.mark.parametrize("folder", RIGHT, ids=lambda path: path.name)
def test_what_is_right_triggers_nothing(folder: Path) -> None:
    assert lint(project_of(folder)) == ()


def test_the_corpus_has_every_rule() -> None:
    rules = {rule.id for rule in (*all_rules(), IGNORE_RULE)}
    assert {folder.name.partition("--")[0] for folder in WRONG} == rules


# --- fixes ----------------------------------------------------------------------------------------

FIXABLE = [
    ("custom-syntax--the-usual-line", "Dockerfile"),
    ("custom-syntax--after-another-directive", "Dockerfile"),
    ("cache-sharing--apt", "Dockerfile"),
    ("cache-sharing--apt-lists-shared", "Dockerfile"),
    ("cache-sharing--apk", "Dockerfile"),
    ("docker-clean--left-in-place", "Dockerfile"),
    ("docker-clean--removed-in-a-stage-that-this-one-does-not-start-from", "Dockerfile"),
    ("cache-defeated--pip-no-cache-dir", "Dockerfile"),
    ("cache-defeated--apk-no-cache", "Dockerfile"),
    ("built-image-pulled--no-tag", ".drone.yml"),
    ("socket-path--somewhere-else", ".drone.yml"),
    ("socket-path--the-folder", ".drone.yml"),
    ("build-without-cache--no-cache", ".drone.yml"),
    ("type-missing--left-out", ".drone.yml"),
]


@pytest.mark.parametrize(("name", "file"), FIXABLE)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_safe_fix_mends_its_finding_and_leaves_every_other_line(
    name: str, file: str, end: str, tmp_path: Path
) -> None:
    for path in (CORPUS / "wrong" / name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"\n", end.encode()))
    before = project_of(tmp_path)
    hits = lint(before)
    [(changed, text)] = fixed(before.texts, hits).items()
    assert changed == file
    (tmp_path / file).write_bytes(text.encode())
    rule = name.partition("--")[0]
    assert rule not in {hit.rule.id for hit in lint(project_of(tmp_path))}
    lines = {edit.line for hit in hits for edit in hit.finding.edits}
    old = before.texts[file].splitlines(keepends=True)
    kept = [line for number, line in enumerate(old, 1) if number not in lines]
    remaining = iter(text.splitlines(keepends=True))
    assert all(line in remaining for line in kept), "a line that no finding is about has changed"
    assert fixed(before.texts | {file: text}, ()) == {}


def test_nothing_else_is_mended_by_itself() -> None:
    projects = {folder.name: project_of(folder) for folder in WRONG}
    mended = {name for name, x in projects.items() if fixed(x.texts, lint(x))}
    assert mended == {name for name, _ in FIXABLE}


def test_a_diff_shows_new_files_and_missing_line_ends() -> None:
    assert diff("a", None, "x\n") == "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n"
    assert diff("a", "x", "y").endswith(
        "-x\n\\ No newline at end of file\n+y\n\\ No newline at end of file\n"
    )
    assert diff("a", "x\n", "x\n") == ""


# --- what is printed ------------------------------------------------------------------------------


@pytest.fixture
def hits() -> tuple[Hit, ...]:
    return lint(
        dockerfile("# syntax=docker/dockerfile:1\nFROM debian\nRUN apt-get install -y git\n")
    )


def test_text_names_the_place_the_fix_and_the_reason(hits: tuple[Hit, ...]) -> None:
    text = as_text(hits)
    assert text.startswith("Dockerfile:1: note: docker/dockerfile:1 is fetched for every build [")
    assert "\nDockerfile:3: warning: apt keeps /var/cache/apt" in text
    assert "\n    fix: RUN --mount=type=cache,target=/var/cache/apt,sharing=locked …" in text
    assert text.endswith("\n1 note, 1 warning\n")
    assert as_text(()) == "nothing to complain about\n"


def test_json_is_versioned(hits: tuple[Hit, ...]) -> None:
    answer = json.loads(as_json(hits))
    assert answer["schema_version"] == 1
    assert [(x["rule"], x["line"], x["fixable"]) for x in answer["findings"]] == [
        ("custom-syntax", 1, True),
        ("cache-mount-missing", 3, False),
    ]


def test_sarif_refers_to_rules_that_it_describes(hits: tuple[Hit, ...]) -> None:
    log = json.loads(as_sarif(hits))
    [run] = log["runs"]
    assert log["version"] == "2.1.0"
    described = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == described
    region = run["results"][1]["locations"][0]["physicalLocation"]
    assert region == {"artifactLocation": {"uri": "Dockerfile"}, "region": {"startLine": 3}}


def test_annotations_are_one_escaped_line_each(hits: tuple[Hit, ...]) -> None:
    lines = as_github(hits).splitlines()
    assert lines[0].startswith("::notice file=Dockerfile,line=1,title=custom-syntax::")
    assert lines[1].startswith("::warning file=Dockerfile,line=3,")


# --- comments -------------------------------------------------------------------------------------


def test_a_comment_covers_the_whole_instruction_below_it_and_no_more() -> None:
    text = (
        "FROM debian\n# runnerkit: ignore cache-mount-missing small\nRUN true && \\\n"
        "    apt-get install -y git\nRUN apt-get install -y curl\n"
    )
    assert [(hit.rule.id, hit.finding.line) for hit in lint(dockerfile(text))] == [
        ("cache-mount-missing", 5)
    ]


def test_a_comment_at_the_end_covers_its_line() -> None:
    text = (
        "kind: pipeline\ntype: docker\nname: x\nsteps:\n  - name: report\n"
        "    image: report:$V  # runnerkit: ignore image-not-substituted set by our own plugin\n"
    )
    assert lint(pipeline(text)) == ()


# --- anything at all ------------------------------------------------------------------------------

DICTIONARY = r"""
FROM RUN COPY ENV ARG USER WORKDIR CMD ONBUILD AS base . / --mount=type=cache,target=/x <<EOF EOF
&& || ; | \ # $ ${ } " ' [ ] --from=base apt-get install pip npm ci go build cargo --offline rm cp
target/x ~ é $HOME syntax= escape=` --platform= A=1 -c python -m sh sudo env ~/.cache docker -t
kind: pipeline steps: - name: x image: app:${DRONE_COMMIT_SHA} commands: --target volumes:
depends_on: *a &a
"""
WORDS = st.sampled_from([*DICTIONARY.split(), "\n", "\r\n", " ", "\t", "\ufeff", "\x00", "\udc80"])
ANYTHING = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=25).map(" ".join))


@settings(max_examples=300, deadline=None)
@given(text=ANYTHING)
def test_any_dockerfile_is_judged_or_refused(text: str) -> None:
    try:
        project = dockerfile(f"FROM debian AS base\n{text}")
    except DockerfileError:
        return
    hits = lint(project)
    fixed(project.texts, hits)
    assert all(form(hits) is not None for form in FORMATS.values())


@settings(max_examples=300, deadline=None)
@given(text=ANYTHING, image=ANYTHING, command=ANYTHING, path=ANYTHING)
def test_any_pipeline_is_judged_or_refused(text: str, image: str, command: str, path: str) -> None:
    step = {
        "name": "a",
        "image": image,
        "commands": [command, f"docker build -t {image} ."],
        "volumes": [{"name": path, "path": path}],
    }
    document = {
        "kind": "pipeline",
        "type": "docker",
        "steps": [step, {"name": "b", "image": image}],
        "volumes": [{"name": path, "host": {"path": path}}],
    }
    for content in (text, f"kind: pipeline\ntype: docker\nsteps:\n{text}", json.dumps(document)):
        try:
            project = pipeline(content)
        except PipelineError:
            continue
        hits = lint(project)
        fixed(project.texts, hits)
        assert all(form(hits) is not None for form in FORMATS.values())


@given(text=ANYTHING)
def test_commands_have_a_program(text: str) -> None:
    assert all(command.words and command.program is not None for command in commands_of(text))


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("a && b || c; d | e & f", "a b c d e f"),
        ("if ! a; then b; else c; fi", "a b c"),
        ("A=1 B='2 3' a x=1", "a"),
        ("sudo -E a -b", "a"),
        ("(a; b) && { c; }", "a b c"),
        ("sh -ec 'a && b'", "a b"),
        ("/usr/bin/a \\\n  --flag \\\n && b", "a b"),
        ("echo 'a && b'", "echo"),
        ('a "unclosed\nb', "a b"),
        ("", ""),
    ],
)
def test_commands_of_a_shell_text(text: str, programs: str) -> None:
    assert " ".join(command.program for command in commands_of(text)) == programs


@pytest.mark.parametrize(
    ("image", "same"),
    [
        ("app", "app:latest"),
        ("r.lan:5000/app", "r.lan:5000/app:latest"),
        ("app:$DRONE_COMMIT_SHA", "app:${DRONE_COMMIT_SHA}"),
        ("app:$${DRONE_COMMIT_SHA:0:8}", "app:${DRONE_COMMIT_SHA:0:8}"),
        ("app@sha256:0", "app@sha256:0"),
    ],
)
def test_references_have_one_spelling(image: str, same: str) -> None:
    assert reference(image) == same


@pytest.mark.parametrize(
    ("text", "out"),
    [
        (".git\n", True),
        ("/.git/\n", True),
        ("**/.git", True),
        ("*\n!src\n", True),
        ("*\n!.git\n", False),
        ("# .git\nnode_modules\n", False),
        ("", False),
        ("[", False),
    ],
)
def test_dockerignore(text: str, *, out: bool) -> None:
    assert dockerignore_leaves_out(text, ".git/HEAD") is out


def test_a_heredoc_of_data_is_no_command() -> None:
    text = "FROM debian\nRUN cat <<END >/etc/motd\napt-get install git\nEND\n"
    assert lint(dockerfile(text)) == ()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "neither a Dockerfile nor a .drone.yml"),
        ({"Dockerfile": "FRM debian\n"}, "Dockerfile:1: "),
        ({"Dockerfile": "FROM debian\nRUN <<END\n"}, "Dockerfile:2: unterminated heredoc"),
        ({"Dockerfile": "ARG A\n"}, "there is no FROM"),
        ({".drone.yml": "kind: pipeline\nsteps: [\n"}, ".drone.yml:"),
        ({".drone.yml": "\x00"}, ".drone.yml:1: "),
    ],
)
def test_what_cannot_be_read_is_one_clear_message(
    files: dict[str, str], words: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)
    assert words in caught.value.message


def test_dockerfiles_that_steps_build_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "test.docker").write_text("FROM --platform=linux/amd64 debian\n")
    (tmp_path / ".drone.yml").write_text(
        "kind: pipeline\ntype: docker\nsteps:\n  - name: build\n    image: docker:cli\n"
        "    environment: {DOCKER_HOST: tcp://docker}\n"
        "    commands: [docker build -f ci/test.docker -t x .]\n"
    )
    [hit] = lint(load_project(tmp_path))
    assert (hit.finding.file, hit.finding.line, hit.rule.id) == (
        "ci/test.docker", 1, "platform-fixed"
    )  # fmt: skip
