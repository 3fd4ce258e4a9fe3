"""The stand-in runner substitutes `${…}` in configuration files as drone/envsubst does."""

from __future__ import annotations

import pytest

from tests.lab.drone import runner

KNOWN = {"V": "feature/One.tar.gz", "SHA": "0123456789", "EMPTY": "", "NAME": "drone"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${SHA}", "0123456789"),
        ("a ${NAME} b ${SHA}", "a drone b 0123456789"),
        ("${UNKNOWN}", ""),
        ("$NAME", "$NAME"),
        ("$${NAME}", "${NAME}"),
        ("$$", "$"),
        ("cost: 5$", "cost: 5$"),
        ("${#SHA}", "10"),
        ("${SHA:0:8}", "01234567"),
        ("${SHA:7}", "789"),
        ("${SHA:2:3}", "234"),
        ("${SHA:20}", ""),
        ("${SHA:x}", "0123456789"),
        ("${V##*/}", "One.tar.gz"),
        ("${V#*/}", "One.tar.gz"),
        ("${V%.*}", "feature/One.tar"),
        ("${V%%.*}", "feature/One"),
        ("${V##nothing}", "feature/One.tar.gz"),
        ("${V/feature/fix}", "fix/One.tar.gz"),
        ("${V//./-}", "feature/One-tar-gz"),
        ("${V/#feature/fix}", "fix/One.tar.gz"),
        ("${V/%.gz/.xz}", "feature/One.tar.xz"),
        ("${NAME^}", "Drone"),
        ("${NAME^^}", "DRONE"),
        ("${V,,}", "feature/one.tar.gz"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY=other}", "other"),
        ("${NAME:-other}", "drone"),
        ("${EMPTY:-${NAME}}", "drone"),
    ],
)
def test_substitution(text: str, result: str) -> None:
    assert runner.substitute(text, lambda name: KNOWN.get(name, "")) == result


@pytest.mark.parametrize("text", ["${", "${NAME", "${}", "${NAME!}", "${NAME:-x"])
def test_a_bad_substitution(text: str) -> None:
    with pytest.raises(runner.SubstitutionError, match="bad substitution"):
        runner.substitute(text, lambda _name: "")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("plugins/docker", "docker.io/plugins/docker:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("r.lab:5000/a/b:c", "r.lab:5000/a/b:c"),
        (f"alpine@sha256:{'0' * 64}", f"docker.io/library/alpine@sha256:{'0' * 64}"),
        ("Bad Name", "Bad Name"),
    ],
)
def test_image_names_are_expanded(name: str, full: str) -> None:
    assert runner.expand_image(name) == full


@pytest.mark.parametrize(
    ("name", "latest"),
    [("app", True), ("app:latest", True), ("app:1", False), ("r.lab:5000/app", True)],
)
def test_which_images_are_pulled_first(name: str, *, latest: bool) -> None:
    assert runner.is_latest(name) is latest


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("octocat/*", "octocat/app", True),
        ("octocat/*", "octocat/a/b", False),
        ("refs/heads/**", "refs/heads/a/b", True),
        ("feature-?", "feature-1", True),
        ("[ab]x", "bx", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns(pattern: str, value: str, *, matches: bool) -> None:
    assert bool(runner.glob(pattern).fullmatch(value)) is matches
