"""Names, labels, paths and values that a shell would trip over, all the way and back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runnerkit.desired.envfile import UnwritableValueError, runner_env
from tests.e2e.kit import Kit, Lab, explain, logs_of

pytestmark = pytest.mark.lab

HOST = "host1"
# Whatever is executed, by whichever shell on whichever machine, leaves this behind.
BAIT = "/tmp/executed"  # noqa: S108
PREFIX = "HOSTILE_"

FRAGMENTS = [
    f"$(touch {BAIT})", f"`touch {BAIT}`", f"; touch {BAIT} #", f"&& touch {BAIT} ||",
    f"| tee {BAIT}", f"> {BAIT}", f"'$(touch {BAIT})'", f'"; touch {BAIT}; "',
    "$HOME", "$$", "$'\\n'", "%s%n", "'", '"', "\\", r"\n", "  ", "*", "?", "[a-z]", "~", "{a}",
    "!!", "&", "|", "<", "(", ")", "--privileged=true", "-rf", "-", "#", "=", "@", "{{.Secret}}",
    "süß", "雪", "🌨", "e\u0301", "\u00a0", "x", "Z", "0", ".",
]  # fmt: skip
LETTERS = st.characters(exclude_categories=["C"], exclude_characters=",:")
# Neither what the runner's lists are parted by, nor control characters: those are refused.
NASTY = (
    st.lists(st.sampled_from(FRAGMENTS) | st.text(LETTERS, max_size=5), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda text: len(text.encode()) < 200 and "${" not in text)
)
# A name in a path; in front of it and behind it stands something harmless.
FOLDERS = NASTY.map(lambda text: f"-{text.replace('/', '_')}-")
LABELS = NASTY.map(lambda text: "".join(text.split())).filter(bool)


@dataclass(frozen=True)
class Hostile:
    """What goes in, all of it at once."""

    values: tuple[str, ...]
    labels: dict[str, str]
    inside: str
    outside: str
    secret: str

    @property
    def environ(self) -> dict[str, str]:
        return {f"{PREFIX}{number}": value for number, value in enumerate(self.values)}

    @property
    def volumes(self) -> dict[str, str]:
        return {f"/var/lib/docker/{self.inside}": f"/mnt/{self.outside}"}

    @property
    def writable(self) -> bool:
        """`#` among quotes is beyond the runner's own reader, and refused in words."""
        maps = (self.environ, self.labels, self.volumes)
        lines = [",".join(f"{key}:{value}" for key, value in item.items()) for item in maps]
        try:
            runner_env({f"LINE_{number}": x for number, x in enumerate([*lines, self.secret])})
        except UnwritableValueError:
            return False
        return True


HOSTILE = st.builds(
    Hostile,
    values=st.lists(NASTY.filter(bool), min_size=4, max_size=12).map(tuple),
    labels=st.dictionaries(LABELS, NASTY, min_size=1, max_size=3),
    inside=FOLDERS,
    outside=FOLDERS,
    secret=NASTY.map(lambda text: f"hostile-{text}-secret"),
).filter(lambda hostile: hostile.writable)


@pytest.fixture(scope="module")
def elsewhere(kit: Kit, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """The configuration in a folder whose name asks for trouble."""
    folder = tmp_path_factory.mktemp("place") / f"-it's $(touch {BAIT.replace('/', '_')}) `a` \"; *"
    folder.mkdir()
    config = folder / "runner kit.yml"
    config.write_text(kit.config.read_text())
    yield Kit(config)
    lab.call("server", "DELETE", "/lab/faults")
    kit("up", HOST, "--yes")


def pipeline(labels: dict[str, str], place: Path) -> Path:
    """A build that only a runner with exactly these labels takes; it tells what it was given."""
    tell = f"(env --null | grep --null-data '^{PREFIX}'; cat /proc/self/mountinfo)"
    content = {
        "kind": "pipeline",
        "type": "docker",
        "name": "default",
        "clone": {"disable": True},
        "node": labels,
        "steps": [
            {
                "name": "tell",
                "image": "debian:trixie-slim",
                "commands": [f"{tell} | base64 --wrap=0"],
            }
        ],
    }
    path = place / "pipeline.yml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return path


def mounts(mountinfo: str) -> dict[str, str]:
    """Mount point to the folder that is mounted there, below its filesystem's root."""

    def plain(field: str) -> str:
        raw = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), field.encode())
        return raw.decode()

    rows = (line.split(" ") for line in mountinfo.split("\n") if line)
    return {plain(row[4]): plain(row[3]) for row in rows}


def assert_nothing_was_executed(lab: Lab) -> None:
    assert not Path(BAIT).exists()
    everywhere = (
        ("find", "/tmp", "/", "-maxdepth", "1", "-name", "*executed*"),  # noqa: S108
        *(
            ("docker", "exec", f"runnerkit-main-{service}-1", "sh", "-c", f"ls -d {BAIT}* || true")
            for service in ("dind", "runner", "janitor")
        ),
    )
    for look in everywhere:
        assert "executed" not in lab.on(HOST, *look).stdout


def round_trip(hostile: Hostile, kit: Kit, lab: Lab, place: Path) -> None:
    secret = place / "secret"
    secret.write_text(hostile.secret + "\n")
    secret.chmod(0o600)
    lab.call("server", "POST", "/lab/faults", json.dumps({"secret": hostile.secret}))
    runner = {"environ": hostile.environ, "labels": hostile.labels, "volumes": hostile.volumes}
    given_now = {"runner": runner, "secret": f"file:{secret}"}
    kit.edit(lambda content: content["hosts"][HOST].update(given_now))
    # Healthy means that the server took the secret.
    answer = kit("up", HOST, "--yes")
    assert hostile.secret not in answer.output
    build = lab.submit(pipeline(hostile.labels, place))
    assert build["status"] == "success", explain(build)
    *variables, table = base64.b64decode(logs_of(build, "tell").splitlines()[-1]).split(b"\0")
    assert dict(x.decode().split("=", 1) for x in variables) == hostile.environ
    [(source, target)] = hostile.volumes.items()
    assert mounts(table.decode())[target].endswith(source.removeprefix("/var/lib/docker"))
    runners = json.loads(lab.call("server", "GET", "/lab/runners").stdout)
    assert hostile.labels in [item["labels"] for item in runners]
    kit("plan", HOST, "--exit-code")
    assert_nothing_was_executed(lab)


def checked(examples: int) -> settings:
    """No shrinking: each example changes a host and runs a build."""
    return settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate],
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


EXAMPLE = Hostile(
    values=(
        f"$(touch {BAIT})", f"`touch {BAIT}`", f"; touch {BAIT} #", f"&& touch {BAIT} ||",
        "$HOME $$ %s %n", 'it\'s "quoted"', r"\n \\ \$HOME", "  two  blanks  ",
        "* ? [a-z] ~ {a} !", "süß 雪 🌨", "--privileged=true", "{{.Secret}}",
    ),
    labels={"$(id)": "it's `id` two"},
    inside="-$(id) it's-",
    outside="-`id` * two-",
    secret="hostile-p$A\"ss'wo#rd =x-secret",
)  # fmt: skip


def test_hostile_texts_arrive_byte_for_byte_and_nothing_is_executed(
    elsewhere: Kit, lab: Lab, tmp_path: Path
) -> None:
    round_trip(EXAMPLE, elsewhere, lab, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(hostile=HOSTILE)
@checked(60)
def test_many_hostile_texts_arrive_byte_for_byte(
    hostile: Hostile, elsewhere: Kit, lab: Lab, tmp_path: Path
) -> None:
    round_trip(hostile, elsewhere, lab, tmp_path)


def test_archives_come_from_a_hostile_folder(elsewhere: Kit, lab: Lab) -> None:
    folder = elsewhere.config.parent / f"--help; touch {BAIT.replace('/', '_')} 'x' $HOME"
    folder.mkdir()
    make = "tar -cC /etc hostname | docker import - tiny/image:1 >&2 && docker save tiny/image:1"
    packed = lab.on(HOST, "sh", "-ec", f"{make} | base64 --wrap=0 && docker rmi tiny/image:1 >&2")
    (folder / "tiny.tar").write_bytes(base64.b64decode(packed.stdout))

    def edit(content: dict[str, Any]) -> None:
        host = content["hosts"][HOST]
        host["images"] = {"load": f"./{folder.name}"}
        host["docker"] = host["docker"] | {"preload": ["tiny/image:1"]}

    elsewhere.edit(edit)
    elsewhere("up", HOST, "--yes")
    inside = elsewhere("docker", HOST, "--", "images", "--format", "{{.Repository}}:{{.Tag}}")
    assert "tiny/image:1" in inside.stdout
    assert_nothing_was_executed(lab)
