"""Which repository's build used a cache mount last, as far as BuildKit's history tells."""

from __future__ import annotations

import json

import pytest

from runnerkit.cache.summary import last_uses
from runnerkit.facts.builds import Build, parse_builds, parse_refs, place_of_sources

# As docker buildx 0.29.1 lists and tells of builds of engine 28.5.2, shortened.
LISTED = """\
asked
{"created_at":"2026-11-24T22:25:27.4Z","name":"test","ref":"default/default/older","status":"Completed"}
{"created_at":"2026-11-24T22:29:01.1Z","name":"test","ref":"default/default/newer","status":"Completed"}
"""
TOLD = """\
asked
build newer
%s
#10 [test 1/1] RUN --mount=type=cache,target=/root/.cache/go-build/     go test -c -o /t .
#11 [vet 1/1] RUN --mount=id=go-mod,type=cache,dst=/go --mount=type=bind,target=/x go vet
#11 CACHED
build older
{"Name": "test", "Ref": "older"}
#10 [test 1/1] RUN --mount=type=cache,id=go-mod,target=/go/pkg/mod --mount=type=secret,id=s go build
"""


def told(**record: object) -> tuple[Build, ...]:
    return parse_builds(TOLD % json.dumps({"Name": "test", "Ref": "newer", **record}))


def test_the_newest_build_comes_first() -> None:
    assert parse_refs(LISTED) == ("newer", "older")


def test_no_history_is_not_an_empty_one() -> None:
    assert parse_refs("") is None
    assert parse_refs("asked\n") == ()


def test_a_step_that_came_from_the_cache_used_no_mount() -> None:
    newer, older = told()
    assert newer.mounts == {"/root/.cache/go-build"}
    assert older.mounts == {"go-mod"}
    assert last_uses((newer, older)) == {"/root/.cache/go-build": newer, "go-mod": older}


def test_of_two_builds_that_used_a_mount_the_newer_counts() -> None:
    newer, older = Build("newer", "", frozenset({"m"})), Build("older", "", frozenset({"m", "n"}))
    assert last_uses((newer, older)) == {"m": newer, "n": older}


@pytest.mark.parametrize(
    ("record", "repository"),
    [
        ({"VCSRepository": "https://git.lan/lab/greet.git"}, "git.lan/lab/greet"),
        (
            {
                "Labels": [
                    {"Name": "org.opencontainers.image.source", "Value": "http://git.lan/a/b"}
                ]
            },
            "git.lan/a/b",
        ),
        ({"Context": "https://git.lan/lab/greet.git#main:app"}, "git.lan/lab/greet"),
        ({"Context": "."}, ""),
        ({"Labels": None}, ""),
        ({}, ""),
    ],
)
def test_the_repository_is_what_client_label_or_context_tell(
    record: dict[str, object], repository: str
) -> None:
    assert told(**record)[0].repository == repository


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://robot:s3cret@git.lan:3000/a/b.git", "git.lan:3000/a/b"),
        ("git@git.lan:a/b.git", "git.lan/a/b"),
        ("ssh://git@git.lan/a/b", "git.lan/a/b"),
        ("a/b", ""),
    ],
)
def test_a_place_of_sources_never_holds_a_password(url: str, place: str) -> None:
    assert place_of_sources(url) == place
