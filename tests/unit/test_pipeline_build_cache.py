"""Counting in what BuildKit prints, as captured from docker 28.5 and 26.1."""

from __future__ import annotations

import pytest

from runnerkit.pipeline.build_cache import CacheCounter, CacheUse

COLD = """\
+ docker build --progress=plain .
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 619B done
#1 DONE 0.0s

#2 [internal] load metadata for docker.io/library/golang:1.24
#2 DONE 0.1s

#5 [base 1/4] FROM docker.io/library/golang:1.24@sha256:9f421f36
#5 DONE 5.8s

#6 [base 2/4] WORKDIR /src
#6 DONE 0.6s

#9 [source 1/1] COPY *.go ./
#9 DONE 0.0s

#6 [base 2/4] WORKDIR /src

#10 [test 1/1] RUN --mount=type=cache,target=/root/.cache/go-build go test
#10 0.203 CACHED is what a program may print
#10 DONE 58.8s
#11 exporting to image
#11 DONE 0.2s
"""
HOT = """\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#5 [1/3] FROM docker.io/library/alpine
#5 CACHED
#6 [2/3] WORKDIR /src
#6 CACHED
#7 [3/3] RUN make
#7 CACHED
"""


@pytest.mark.parametrize(
    ("output", "use"),
    [
        ("", CacheUse(0, 0)),
        ("no build\n#7 CACHED\n", CacheUse(0, 0)),
        (COLD, CacheUse(0, 3)),
        (HOT, CacheUse(2, 2)),
        (COLD + HOT, CacheUse(2, 5)),
        (HOT + HOT, CacheUse(4, 4)),
        (HOT + "\n".join(HOT.splitlines()[4:]), CacheUse(2, 2)),
    ],
)
def test_instructions_and_those_from_cache(output: str, use: CacheUse) -> None:
    counter = CacheCounter()
    for line in output.splitlines():
        counter.add(line)
    assert counter.use == use
