from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runnerkit.change.actions import Drain, ExportData, HaltServices, StartServices, SwapData
from runnerkit.change.copying import check_room, check_writable, export_data, open_export
from runnerkit.change.copying import unpack_data as unpack
from runnerkit.change.export_file import (
    HEAD_BYTES,
    MEMBER,
    ExportHead,
    NotAnExportError,
    incomplete,
    misfit,
    read_head,
)
from runnerkit.change.remote import Fence, Remote
from runnerkit.change.scripts import script
from runnerkit.change.service_plans import export_plan, restore_data_plan, swap_plan
from runnerkit.errors import ActionError, ConfigError
from runnerkit.paths import stack_paths
from runnerkit.reach.transport import ByteStream, Completed
from runnerkit.report.progress import Silent
from tests.unit.builders import desired_for, outer_daemon

HEAD = ExportHead(
    kit="1.0", host="forge", stack="main", engine="28.5.2", storage_driver="overlay2",
    arch="x86_64", made=1_767_236_400, data_bytes=3 << 20,
)  # fmt: skip
PATHS = stack_paths("main", "/var/lib/runnerkit")
BODY = b"tar" * 5000


@dataclass
class CopyingHost:
    """Gives `body` as its data-root, or takes one; `ran` are the programs and what they got."""

    body: bytes = BODY
    code: int = 0
    said: bytes = b""
    name: str = "forge"
    ran: list[tuple[str, bytes]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes | Iterable[bytes] = b"",
        *,
        timeout: float | None = None,  # noqa: ARG002 - part of the protocol
    ) -> Completed:
        got = stdin if isinstance(stdin, bytes) else b"".join(stdin)
        self.ran.append((argv[6], got))
        return Completed(self.code if argv[6] == script("unpack_data") else 0, b"", self.said)

    def follow(
        self,
        argv: Sequence[str],
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None] | None = None,
    ) -> int:
        assert argv[6:] == [script("export_data"), "/var/lib/runnerkit/main"]
        assert on_error is not None
        on_error(self.said)
        on_output(self.body[:7000])
        on_output(self.body[7000:])
        return self.code

    def stream(self, argv: Sequence[str]) -> ByteStream:
        raise AssertionError(f"not scripted: {argv}")

    def forward(self, argv: Sequence[str], path: Path) -> AbstractContextManager[Path]:
        raise AssertionError(f"not scripted: {argv} {path}")

    def close(self) -> None:
        raise AssertionError("not the copy's to close")


def exported(folder: Path, host: CopyingHost) -> Path:
    file = folder / "forge.tar"
    export_data(Remote(host, Fence("token")), PATHS, file, HEAD, Silent())
    return file


def imported(file: Path, host: CopyingHost) -> None:
    unpack(Remote(host, Fence("token")), PATHS, file, open_export(file), Silent())


def test_the_head_is_read_back_and_is_a_member_of_the_archive() -> None:
    data = HEAD.to_bytes()
    assert len(data) == HEAD_BYTES
    assert read_head(data) == HEAD
    with tarfile.open(fileobj=io.BytesIO(data + bytes(10240))) as archive:
        assert archive.getnames() == [MEMBER]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\3\4" * 2000,
        bytes(HEAD_BYTES),
        HEAD.to_bytes()[: HEAD_BYTES // 2],
        HEAD.to_bytes().replace(MEMBER.encode(), b"another-name.json"),
        HEAD.to_bytes().replace(b'"format": 1', b'"format": 2'),
        HEAD.to_bytes().replace(b'"arch"', b'"arcs"'),
        HEAD.to_bytes().replace(b'"28.5.2"', b"28.5    "),
    ],
)
def test_anything_else_is_no_head(data: bytes) -> None:
    with pytest.raises(NotAnExportError):
        read_head(data)


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"version": "28.5.0"}, None),
        ({"version": "29.1.0"}, None),
        ({"version": "28.4.9"}, "is older"),
        ({"version": "28.5.2", "storage_driver": "overlayfs"}, "storage driver overlay2"),
        ({"version": "28.5.2", "arch": "aarch64"}, "x86_64"),
    ],
)
def test_only_an_engine_that_reads_the_data_gets_it(
    engine: dict[str, str], words: str | None
) -> None:
    why = misfit(HEAD, outer_daemon(**engine))
    assert why is None if words is None else why is not None and words in why


def test_a_length_of_even_one_byte_less_is_told() -> None:
    head = replace(HEAD, body_bytes=10240, sha256="0" * 64)
    assert incomplete(head, HEAD_BYTES + 10240) is None
    assert "not whole" in str(incomplete(head, HEAD_BYTES + 10239))
    # The head as it is before the copy has ended.
    assert "not whole" in str(incomplete(HEAD, HEAD_BYTES))


def test_what_is_exported_is_what_is_imported(tmp_path: Path) -> None:
    file = exported(tmp_path, CopyingHost())
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    host = CopyingHost()
    imported(file, host)
    assert host.ran == [(script("unpack_data"), BODY)]


def test_a_copy_that_fails_leaves_no_file(tmp_path: Path) -> None:
    host = CopyingHost(code=2, said=b"tar: ./f: file changed as we read it\n")
    with pytest.raises(ActionError, match="file changed as we read it"):
        exported(tmp_path, host)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "gone"])
def test_a_file_that_is_not_whole_is_never_left_on_the_host(tmp_path: Path, damage: str) -> None:
    file = exported(tmp_path, CopyingHost())
    data, host = file.read_bytes(), CopyingHost()
    if damage == "bit":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ActionError, match="damaged"):
            imported(file, host)
        assert [program for program, _ in host.ran] == [script("unpack_data"), script("purge")]
        return
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if damage == "cut" else b"")
    with pytest.raises(ConfigError):
        imported(file, host)
    assert host.ran == []


def test_what_the_host_says_against_unpacking_is_told(tmp_path: Path) -> None:
    file = exported(tmp_path, CopyingHost())
    with pytest.raises(ActionError, match="9 MiB do not fit") as caught:
        imported(file, CopyingHost(code=1, said=b"9 MiB do not fit\n"))
    assert "nothing was changed" in str(caught.value.hint)


def test_a_place_that_cannot_take_the_file_is_refused_before_anything(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.tar")
    taken = tmp_path / "taken"
    taken.touch()
    for place in (taken, tmp_path, tmp_path / "none" / "new.tar", taken / "new.tar"):
        with pytest.raises(ConfigError):
            check_writable(place)
    with pytest.raises(ConfigError, match="do not fit"):
        check_room(tmp_path / "new.tar", 1 << 60)


def test_nothing_writes_to_the_data_while_it_is_copied_or_swapped(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    export = export_plan(desired, tmp_path / "forge.tar", HEAD)
    for plan, work in ((export, ExportData), (swap_plan(desired), SwapData)):
        assert [type(a) for a in plan.actions] == [HaltServices, work, StartServices]
        assert not any(isinstance(action, Drain) for action in plan.actions)
    assert isinstance(restore_data_plan(desired).actions[0], HaltServices)
