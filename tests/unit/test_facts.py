from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import (
    FactsError,
    HostFacts,
    MountedFile,
    parse_mounted,
    parse_system,
    traits_of,
)

COLLECT = Path(__file__).parent.parent.parent / "runnerkit" / "collect"
SCRIPT, MOUNTED = COLLECT / "facts.sh", COLLECT / "mounted.sh"


def answer(*lines: str) -> str:
    return "\n".join([*lines, "end"]) + "\n"


def test_a_cut_answer_is_no_answer() -> None:
    with pytest.raises(FactsError, match="cut short"):
        parse_system("os_id\tdebian\n")


def test_routes_are_read_as_the_kernel_writes_them() -> None:
    facts = parse_system(
        answer("route\t00000000\t00000000", "route\t0000A8C0\t0000FFFF", "route\tzz\t0")
    )
    assert facts.routes == (IPv4Network("192.168.0.0/16"),)


def test_nameservers_on_loopback_are_of_no_use_to_containers() -> None:
    lines = ["127.0.0.53", "192.168.1.1", "::1", "fe80::1", "192.168.1.1", "nonsense"]
    facts = parse_system(answer(*(f"nameserver\t{line}" for line in lines)))
    assert facts.nameservers == ("192.168.1.1",)


def test_what_was_not_said_is_unknown_not_zero() -> None:
    facts = parse_system(answer("os_id\tdebian"))
    assert (facts.cpus, facts.memory_bytes, facts.data_disk, facts.mtu) == (None,) * 4


def test_pools_in_force_are_read_back_and_a_broken_file_has_none() -> None:
    good = b'{"default-address-pools": [{"base": "10.240.0.0/16", "size": 24}]}'
    for content, count in ((good, 1), (b"{", 0), (b"[]", 0), (b'{"default-address-pools": 1}', 0)):
        text = base64.b64encode(content).decode()
        system = parse_system(answer(f"file\tdaemon.json\t644\troot:root\tabc\t{text}"))
        none = DaemonUnavailable("not asked")
        assert len(traits_of(HostFacts(system, none, none)).current_pools) == count


def test_the_script_tells_the_truth_about_this_machine(tmp_path: Path) -> None:
    stack = tmp_path / "with space and 'quote"
    stack.mkdir(mode=0o750)
    (stack / ".env").write_bytes(b"A='$x'\n\xff")
    for name in ("runner.env", "steps.env"):
        (stack / name).write_text("DRONE_RPC_SECRET=hidden")
        (stack / name).chmod(0o600)
    data = tmp_path / "data"
    (tmp_path / "data.incoming").mkdir()
    argv = ["sh", "-s", "--", str(stack), str(data), str(tmp_path)]
    done = subprocess.run(argv, input=SCRIPT.read_bytes(), capture_output=True, check=True)
    assert b"hidden" not in done.stdout
    facts = parse_system(done.stdout.decode())
    assert facts.directory_mode == 0o750
    environment = facts.file(".env")
    assert environment is not None
    assert environment.content == b"A='$x'\n\xff"
    for secret in (facts.file("runner.env"), facts.file("steps.env")):
        assert secret is not None
        assert (secret.mode, secret.content) == (0o600, None)
    assert facts.data_beside == (f"{data}.incoming",)
    assert facts.data_disk is not None
    disk = os.statvfs(tmp_path)
    assert facts.data_disk.total == disk.f_blocks * disk.f_frsize
    assert facts.cpus == os.cpu_count()


def test_files_are_seen_as_a_running_process_sees_them(tmp_path: Path) -> None:
    there, missing = tmp_path / "daemon.json", tmp_path / "gone"
    there.write_text("{}")
    os.utime(there, (0, 0))
    me = str(os.getpid())
    words = ["dind", "daemon.json", me, str(there), "runner", "runner.env", me, str(missing)]
    done = subprocess.run(
        ["sh", "-s", "--", *words], input=MOUNTED.read_bytes(), capture_output=True, check=True
    )
    digest = hashlib.sha256(b"{}").hexdigest()
    assert parse_mounted(done.stdout.decode()) == (MountedFile("dind", "daemon.json", digest, 0),)
