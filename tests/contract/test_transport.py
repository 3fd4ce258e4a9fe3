"""One suite for every kind of Transport; sshd is a real one, on loopback, started here."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_EOF

from runnerkit.errors import ConnectionLostError, HostError, UnreachableError
from runnerkit.reach import ssh_channels
from runnerkit.reach.ssh_channels import Channel
from runnerkit.reach.transport import Completed, Login, Transport, connect
from runnerkit.secret import Secret
from runnerkit.target import LOCAL, SshTarget

SSHD = "/usr/sbin/sshd"
USER = getpass.getuser()
MEBIBYTE = bytes(range(256)) * 4096


@dataclass(frozen=True)
class Sshd:
    """A running server, its keys, and a client key that it accepts."""

    directory: Path
    port: int

    @property
    def identity(self) -> Path:
        return self.directory / "id"

    def public(self, kind: str) -> tuple[str, bytes]:
        name, blob, *_ = (self.directory / f"host_{kind}.pub").read_text().split()
        return name, base64.b64decode(blob)

    def line(self, kind: str, names: str) -> str:
        name, blob = self.public(kind)
        return f"{names} {name} {base64.b64encode(blob).decode()}\n"

    def fingerprint(self, kind: str) -> str:
        digest = hashlib.sha256(self.public(kind)[1]).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def entry(self) -> str:
        return f"[127.0.0.1]:{self.port}"


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)],
        check=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if not Path(SSHD).exists():
        pytest.fail(f"{SSHD} is missing: apt-get install -y openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory = tmp_path_factory.mktemp("sshd")
    make_key(directory / "host_ed25519")
    make_key(directory / "host_ecdsa", "ecdsa")
    make_key(directory / "id")
    shutil.copy(directory / "id.pub", directory / "authorized_keys")
    server = Sshd(directory, free_port())
    (directory / "sshd_config").write_text(
        f"Port {server.port}\nListenAddress 127.0.0.1\nStrictModes no\nPidFile none\nUsePAM no\n"
        f"HostKey {directory}/host_ed25519\nHostKey {directory}/host_ecdsa\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nPermitRootLogin yes\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n"
        "MaxSessions 5\nAllowTcpForwarding yes\n"
    )
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(directory / "sshd_config")],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if b"Server listening" in line:
            break
    else:
        pytest.fail(f"{SSHD} does not start in {directory}")
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    yield server
    process.terminate()
    process.wait()
    drain.join()
    process.stderr.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a home of its own, and no agent."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return place


@pytest.fixture
def login(sshd: Sshd, tmp_path: Path) -> Login:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(sshd.line("ed25519", sshd.entry))
    return Login(
        name="forge",
        target=SshTarget(USER, "127.0.0.1", sshd.port),
        identity=sshd.identity,
        known_hosts=known_hosts,
    )


@pytest.fixture(params=["local", "ssh"])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    if request.param == "local":
        opened = connect(Login(name="here", target=LOCAL))
    else:
        opened = connect(request.getfixturevalue("login"))
    yield opened
    opened.close()


def sh(transport: Transport, script: str, *arguments: str, stdin: bytes = b"") -> Completed:
    return transport.run(["sh", "-c", script, "sh", *arguments], stdin)


class TestPrograms:
    def test_binary_in_and_out(self, transport: Transport) -> None:
        data = bytes(range(256)) * 3
        assert transport.run(["cat"], data) == Completed(0, data, b"")

    def test_outputs_are_apart_and_code_is_a_value(self, transport: Transport) -> None:
        done = sh(transport, "printf out; printf err >&2; exit 7")
        assert done == Completed(7, b"out", b"err")

    def test_no_input_is_an_empty_one(self, transport: Transport) -> None:
        assert transport.run(["wc", "-c"]).stdout.strip() == b"0"

    def test_missing_program(self, transport: Transport) -> None:
        done = transport.run(["no-such-program-here"])
        assert done.code == 127
        assert b"not found" in done.stderr

    def test_death_by_signal_is_a_code(self, transport: Transport) -> None:
        assert sh(transport, "kill -9 $$").code == 137

    @pytest.mark.parametrize(
        "word",
        [
            "$(id)",
            "`id`",
            "a'b\"c",
            "\\",
            "*",
            " ",
            "",
            "\n\t",
            "-x",
            "\udcff\udc80",
            "ü€",
            "!!",
            "%s",
        ],
    )
    def test_hostile_words_arrive_as_they_are(self, transport: Transport, word: str) -> None:
        done = transport.run(["printf", "%s", word])
        assert done.stdout == os.fsencode(word)

    def test_nul_is_refused(self, transport: Transport) -> None:
        with pytest.raises(ValueError, match="NUL"):
            transport.run(["echo", "\0"])

    def test_much_data_both_ways_at_once(self, transport: Transport) -> None:
        done = transport.run(["tee", "/dev/stderr"], (MEBIBYTE for _ in range(12)))
        assert done.code == 0
        assert done.stdout == MEBIBYTE * 12
        assert done.stderr == MEBIBYTE * 12

    def test_a_program_may_stop_reading(self, transport: Transport) -> None:
        done = transport.run(["head", "-c", "3"], (MEBIBYTE for _ in range(100_000)))
        assert done == Completed(0, MEBIBYTE[:3], b"")

    def test_failing_input_is_raised_here(self, transport: Transport) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"some"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            transport.run(["cat"], chunks())

    def test_timeout(self, transport: Transport) -> None:
        with pytest.raises(HostError, match=r"cat did not end within 0\.2 s"):
            transport.run(["cat"], _never(), timeout=0.2)

    def test_many_at_once_from_many_threads(self, transport: Transport) -> None:
        def work(number: int) -> bytes:
            return transport.run(["cat"], str(number).encode() * 1000).stdout

        with ThreadPoolExecutor(max_workers=20) as pool:
            answers = list(pool.map(work, range(40)))
        assert answers == [str(number).encode() * 1000 for number in range(40)]

    def test_follow_hands_on_as_it_comes(self, transport: Transport) -> None:
        chunks: list[bytes] = []
        code = transport.follow(["sh", "-c", "echo a; echo b >&2; exit 3"], chunks.append)
        assert code == 3
        assert sorted(b"".join(chunks).split()) == [b"a", b"b"]

    def test_follow_keeps_both_outputs_apart_where_asked(self, transport: Transport) -> None:
        out, err = bytearray(), bytearray()
        program = "head -c 300000 /dev/zero; echo b >&2; exit 3"
        assert transport.follow(["sh", "-c", program], out.extend, err.extend) == 3
        assert (bytes(out), bytes(err)) == (bytes(300000), b"b\n")

    def test_follow_raises_what_the_listener_raises(self, transport: Transport) -> None:
        def listener(_: bytes) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            transport.follow(["sh", "-c", "echo a; cat /dev/zero"], listener)

    def test_closed_means_closed(self, transport: Transport) -> None:
        transport.close()
        transport.close()
        with pytest.raises((HostError, ConnectionLostError), match="already closed"):
            transport.run(["true"])


def _never() -> Iterator[bytes]:
    while True:
        threading.Event().wait(0.05)
        yield b""


class TestStreams:
    def test_talks_both_ways(self, transport: Transport) -> None:
        stream = transport.stream(["cat"])
        stream.sendall(b"one\n")
        file = stream.makefile("rb")
        assert file.readline() == b"one\n"
        stream.sendall(b"two\n")
        assert file.readline() == b"two\n"
        file.close()
        stream.close()
        stream.close()

    def test_half_close(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "cat; echo end"])
        stream.sendall(b"data ")
        stream.close_write()
        assert stream.makefile("rb").read() == b"data end\n"
        stream.close()

    def test_files_outlive_close_as_with_sockets(self, transport: Transport) -> None:
        stream = transport.stream(["cat"])
        file = stream.makefile("rb")
        stream.sendall(b"later")
        stream.close_write()
        stream.close()
        assert file.read() == b"later"
        file.close()

    def test_timeout(self, transport: Transport) -> None:
        stream = transport.stream(["cat"])
        stream.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stream.recv(1)
        stream.close()

    def test_an_ended_program_is_a_broken_pipe(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "echo why >&2; exit 1"])
        assert stream.recv(10) == b""
        assert stream.explain() == "why"
        with pytest.raises(BrokenPipeError):  # noqa: PT012 - the first bytes may still be taken
            while True:
                stream.sendall(MEBIBYTE)
        stream.close()

    def test_much_stderr_does_not_block(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "head -c 5000000 /dev/zero >&2; echo done"])
        assert stream.makefile("rb").read() == b"done\n"
        stream.close()


class TestForward:
    def test_every_connection_is_a_program(self, transport: Transport, tmp_path: Path) -> None:
        path = tmp_path / "run" / "s"
        with transport.forward(["cat"], path) as listening:
            assert listening == path
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            with ThreadPoolExecutor() as pool:
                sent = [os.urandom(300_000) for _ in range(4)]
                assert list(pool.map(lambda data: _echo(path, data), sent)) == sent
        assert not path.parent.exists()

    def test_end_of_the_program_ends_the_connection(
        self, transport: Transport, tmp_path: Path
    ) -> None:
        path = tmp_path / "s"
        with transport.forward(["echo", "hi"], path), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert client.makefile("rb").read() == b"hi\n"
        assert not path.exists()

    def test_leaving_ends_open_connections(self, transport: Transport, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            with transport.forward(["cat"], tmp_path / "s") as path:
                client.connect(str(path))
                client.sendall(b"x")
                assert client.recv(1) == b"x"
            assert client.recv(1) == b""

    def test_a_stale_socket_is_replaced(self, transport: Transport, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(path))
        with transport.forward(["cat"], path):
            assert _echo(path, b"hello") == b"hello"

    def test_a_living_socket_is_not(self, transport: Transport, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with transport.forward(["cat"], path):
            with pytest.raises(HostError, match="already in use"), transport.forward(["cat"], path):
                pass
            assert _echo(path, b"hello") == b"hello"

    def test_too_long_a_path(self, transport: Transport, tmp_path: Path) -> None:
        path = tmp_path / ("x" * 120)
        with pytest.raises(HostError, match="cannot listen"), transport.forward(["cat"], path):
            pass


def _echo(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        answer = client.makefile("rb").read()
        sender.join()
        return answer


class TestHostKeys:
    def test_unknown_is_refused_with_its_fingerprint(self, login: Login, sshd: Sshd) -> None:
        known_hosts(login).write_text("")
        with pytest.raises(UnreachableError, match=re.escape("SHA256:")) as caught:
            connect(login)
        assert sshd.fingerprint("ed25519") in str(caught.value)
        assert "--accept-new-host-key" in str(caught.value.hint)
        assert known_hosts(login).read_text() == ""

    def test_no_is_no(self, login: Login) -> None:
        known_hosts(login).unlink()
        with pytest.raises(UnreachableError, match="not accepted"):
            connect(login, ask_host_key=lambda _: False)
        assert not known_hosts(login).exists()

    def test_yes_is_remembered(self, login: Login, sshd: Sshd, tmp_path: Path) -> None:
        file = tmp_path / "new" / "known_hosts"
        asked: list[str] = []

        def ask(sentence: str) -> bool:
            asked.append(sentence)
            return True

        connect(replace(login, known_hosts=file), ask_host_key=ask).close()
        connect(replace(login, known_hosts=file)).close()
        assert len(asked) == 1
        assert sshd.fingerprint("ed25519") in asked[0]
        assert file.read_text() == sshd.line("ed25519", sshd.entry)
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700

    def test_accept_new_host_key(self, login: Login) -> None:
        known_hosts(login).write_text("# no newline at the end")
        connect(replace(login, accept_new_host_key=True)).close()
        connect(login).close()

    @pytest.mark.parametrize("names", ["*", "[127.0.0.?]:*", "other,{entry}"])
    def test_patterns(self, login: Login, sshd: Sshd, names: str) -> None:
        known_hosts(login).write_text(sshd.line("ed25519", names.format(entry=sshd.entry)))
        connect(login).close()

    @pytest.mark.parametrize("names", ["*,!{entry}", "127.0.0.1", "|1|bm9uc2Vuc2U=|eA==", "[127*"])
    def test_names_that_do_not_mean_this_host(self, login: Login, sshd: Sshd, names: str) -> None:
        known_hosts(login).write_text(sshd.line("ed25519", names.format(entry=sshd.entry)))
        if names == "[127*":
            connect(login).close()
            return
        with pytest.raises(UnreachableError, match="not seen before"):
            connect(login)

    def test_hashed_by_ssh_keygen(self, login: Login) -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-H", "-f", str(known_hosts(login))],
            check=True,
            capture_output=True,
        )
        assert known_hosts(login).read_text().startswith("|1|")
        connect(login).close()

    def test_another_key_type_is_asked_for(self, login: Login, sshd: Sshd) -> None:
        known_hosts(login).write_text(sshd.line("ecdsa", sshd.entry))
        connect(login).close()

    def test_changed(self, login: Login, sshd: Sshd, tmp_path: Path) -> None:
        make_key(tmp_path / "other")
        other = (tmp_path / "other.pub").read_text()
        known_hosts(login).write_text(f"# first line\n{sshd.entry} {other}")
        with pytest.raises(UnreachableError, match="host key has changed") as caught:
            connect(replace(login, accept_new_host_key=True), ask_host_key=lambda _: True)
        message = str(caught.value)
        assert sshd.fingerprint("ed25519") in message
        assert message.count("SHA256:") == 2
        assert f"{known_hosts(login)}, line 2" in message
        hint = str(caught.value.hint)
        command = hint[hint.index("ssh-keygen") :]
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)
        assert sshd.entry not in known_hosts(login).read_text()

    def test_revoked(self, login: Login, sshd: Sshd) -> None:
        line = sshd.line("ed25519", sshd.entry)
        known_hosts(login).write_text(f"{line}@revoked {sshd.line('ed25519', '*')}")
        with pytest.raises(UnreachableError, match=r"is revoked .*line 2"):
            connect(replace(login, accept_new_host_key=True), ask_host_key=lambda _: True)

    def test_home_directory_is_the_default(self, login: Login, sshd: Sshd, home: Path) -> None:
        (home / ".ssh").mkdir()
        (home / ".ssh" / "known_hosts").write_text(sshd.line("ed25519", sshd.entry))
        connect(replace(login, known_hosts=None)).close()

    def test_own_file_replaces_the_default(self, login: Login, sshd: Sshd, home: Path) -> None:
        (home / ".ssh").mkdir()
        (home / ".ssh" / "known_hosts").write_text(sshd.line("ed25519", sshd.entry))
        known_hosts(login).write_text("")
        with pytest.raises(UnreachableError, match="not seen before"):
            connect(login)

    def test_unreadable_is_not_empty(self, login: Login, tmp_path: Path) -> None:
        with pytest.raises(UnreachableError, match="cannot be read"):
            connect(replace(login, known_hosts=tmp_path, accept_new_host_key=True))


def known_hosts(login: Login) -> Path:
    assert login.known_hosts is not None
    return login.known_hosts


class TestNoConnection:
    def test_refused(self, login: Login) -> None:
        target = SshTarget(USER, "127.0.0.1", free_port())
        with pytest.raises(UnreachableError, match="connection refused") as caught:
            connect(replace(login, target=target))
        assert caught.value.hint

    def test_unknown_name(self, login: Login) -> None:
        with pytest.raises(UnreachableError, match="does not resolve"):
            connect(replace(login, target=SshTarget(USER, "no-such-host.invalid", None)))

    def test_silent_port(self, login: Login) -> None:
        with _listener() as (listener, port):
            listener.listen()
            target = SshTarget(USER, "127.0.0.1", port)
            with pytest.raises(UnreachableError, match=r"no SSH server greets within 0\.3 s"):
                connect(replace(login, target=target, connect_timeout=0.3))

    def test_no_answer(self, login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
        _fail_to_connect(monkeypatch, TimeoutError("timed out"))
        with pytest.raises(UnreachableError, match="no answer within 5 s"):
            connect(login)

    def test_no_route(self, login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
        _fail_to_connect(monkeypatch, OSError(113, "No route to host"))
        with pytest.raises(UnreachableError, match="no route"):
            connect(login)

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not an SSH server: 'HTTP/1.1 400 Bad Request'"),
            (b"\x1b[31mhi\n", r"not an SSH server: '\?\[31mhi'"),
            (b"", "closed the connection at once"),
        ],
    )
    def test_another_server(self, login: Login, said: bytes, message: str) -> None:
        with _listener() as (listener, port):
            listener.listen()

            def serve() -> None:
                client, _ = listener.accept()
                with client:
                    client.sendall(said)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(UnreachableError, match=message):
                connect(replace(login, target=SshTarget(USER, "127.0.0.1", port)))
            thread.join()

    def test_nothing_on_stderr(self, login: Login, capfd: pytest.CaptureFixture[str]) -> None:
        with _listener() as (listener, port):
            listener.listen()
            target = SshTarget(USER, "127.0.0.1", port)
            with pytest.raises(UnreachableError):
                connect(replace(login, target=target, connect_timeout=0.2))
        opened = connect(login)
        with pytest.raises(ConnectionLostError):
            opened.run(["sh", "-c", KILL_SSHD])
        assert capfd.readouterr() == ("", "")


def _listener() -> ListenerContext:
    return ListenerContext()


class ListenerContext:
    def __enter__(self) -> tuple[socket.socket, int]:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        return self._listener, self._listener.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def _fail_to_connect(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail(*_: object, **__: object) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)


class TestNoLogin:
    def test_wrong_key(self, login: Login, tmp_path: Path) -> None:
        make_key(tmp_path / "wrong")
        with pytest.raises(UnreachableError, match=f"login as {USER} refused .*wrong refused"):
            connect(replace(login, identity=tmp_path / "wrong"))

    def test_no_key_at_all(self, login: Login) -> None:
        with pytest.raises(UnreachableError, match="there was no key to try"):
            connect(replace(login, identity=None))

    def test_missing_key_file(self, login: Login, tmp_path: Path) -> None:
        with pytest.raises(UnreachableError, match=r"key file .*/gone does not exist"):
            connect(replace(login, identity=tmp_path / "gone"))

    def test_encrypted_key(self, login: Login, tmp_path: Path) -> None:
        make_key(tmp_path / "locked", passphrase="lab-passphrase")
        with pytest.raises(UnreachableError, match="locked is encrypted") as caught:
            connect(replace(login, identity=tmp_path / "locked"))
        assert caught.value.hint == f"ssh-add {tmp_path / 'locked'}"

    def test_no_key_in_the_file(self, login: Login, tmp_path: Path) -> None:
        (tmp_path / "junk").write_text("not a key")
        with pytest.raises(UnreachableError, match="junk is no usable private key"):
            connect(replace(login, identity=tmp_path / "junk"))

    def test_an_encrypted_key_of_the_agent(
        self, login: Login, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        socket_path = tmp_path / "agent"
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.PIPE
        )
        assert agent.stdout is not None
        agent.stdout.readline()
        try:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
            subprocess.run(["ssh-add", "-q", str(sshd.identity)], check=True)
            locked = tmp_path / "locked"
            shutil.copy(sshd.identity, locked)
            shutil.copy(sshd.identity.with_suffix(".pub"), tmp_path / "locked.pub")
            subprocess.run(
                ["ssh-keygen", "-q", "-p", "-N", "lab-passphrase", "-f", str(locked)],
                check=True,
                capture_output=True,
            )
            connect(replace(login, identity=locked)).close()
            connect(replace(login, identity=None)).close()
        finally:
            agent.terminate()
            agent.communicate()


class TestConfiguration:
    @pytest.fixture
    def write(self, home: Path, sshd: Sshd) -> Callable[[str], None]:
        (home / ".ssh").mkdir()

        def write(text: str) -> None:
            (home / ".ssh" / "config").write_text(
                text.format(port=sshd.port, user=USER, identity=sshd.identity, home=home)
            )

        return write

    def test_alias(self, login: Login, write: Callable[[str], None]) -> None:
        write(
            "Host forge\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n"
            "  IdentityFile {identity}\n"
        )
        opened = connect(replace(login, target=SshTarget(None, "forge", None), identity=None))
        assert opened.run(["id", "-un"]).stdout.decode().strip() == USER
        opened.close()

    def test_include_and_known_hosts_file(
        self, login: Login, sshd: Sshd, write: Callable[[str], None], home: Path
    ) -> None:
        write("Include conf.d/*.conf\nHost *\n  IdentityFile {identity}\n")
        (home / ".ssh" / "conf.d").mkdir()
        (home / ".ssh" / "conf.d" / "lab.conf").write_text(
            f"Host forge\n\tHostName=127.0.0.1\n\tPort={sshd.port}\n\tUser {USER}\n"
            "\tUserKnownHostsFile ~/lab_hosts\n"
        )
        (home / "lab_hosts").write_text(sshd.line("ed25519", sshd.entry))
        target = SshTarget(None, "forge", None)
        connect(replace(login, target=target, identity=None, known_hosts=None)).close()

    def test_jump_host(self, login: Login, write: Callable[[str], None]) -> None:
        write(JUMP)
        opened = connect(replace(login, target=SshTarget(None, "inside", None)))
        assert opened.run(["cat"], b"through").stdout == b"through"
        opened.close()

    def test_the_key_of_a_jump_host_is_checked(
        self, login: Login, sshd: Sshd, write: Callable[[str], None]
    ) -> None:
        write(JUMP + "  HostKeyAlias the-gate\n")
        target = SshTarget(None, "inside", None)
        with pytest.raises(UnreachableError, match=r"jump host 127\.0\.0\.1:.* not seen before"):
            connect(replace(login, target=target))
        with known_hosts(login).open("a") as file:
            file.write(sshd.line("ed25519", "the-gate"))
        connect(replace(login, target=target)).close()

    def test_the_key_behind_a_jump_host_is_checked(
        self, login: Login, write: Callable[[str], None]
    ) -> None:
        write("Host inside\n  HostKeyAlias the-inside\n" + JUMP)
        with pytest.raises(UnreachableError, match=r"^forge .* not seen before"):
            connect(replace(login, target=SshTarget(None, "inside", None)))

    def test_a_jump_host_that_reaches_nothing(
        self, login: Login, write: Callable[[str], None]
    ) -> None:
        write(
            JUMP.replace(
                "HostName 127.0.0.1\n  Port {port}\n  User {user}\n  ProxyJump",
                f"HostName 127.0.0.1\n  Port {free_port()}\n  User {{user}}\n  ProxyJump",
            )
        )
        with pytest.raises(UnreachableError, match="jump host cannot reach it"):
            connect(replace(login, target=SshTarget(None, "inside", None)))

    def test_hops_are_taken_in_order(self, login: Login, write: Callable[[str], None]) -> None:
        write(
            "Host inside\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n"
            "  ProxyJump first,second\n"
            "Host first second\n  Port {port}\n  User {user}\n  HostKeyAlias unknown\n"
            "Host first\n  HostName 127.0.0.1\nHost second\n  HostName localhost\n"
        )
        with pytest.raises(UnreachableError, match=r"jump host 127\.0\.0\.1"):
            connect(replace(login, target=SshTarget(None, "inside", None)))

    def test_proxy_command(self, login: Login, write: Callable[[str], None], home: Path) -> None:
        script = home / "relay.py"
        script.write_text(RELAY)
        relay = f"{sys.executable} {script} %h %p"
        write(
            "Host inside\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n"
            f"  ProxyCommand {relay}\n"
        )
        opened = connect(replace(login, target=SshTarget(None, "inside", None)))
        assert opened.run(["echo", "hi"]).stdout == b"hi\n"
        opened.close()


RELAY = """
import os, socket, sys, threading
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def out():
    while data := far.recv(65536):
        os.write(1, data)
threading.Thread(target=out, daemon=True).start()
while data := os.read(0, 65536):
    far.sendall(data)
"""
JUMP = (
    "Host inside\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  ProxyJump gate\n"
    "Host gate\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n"
)
# The parent of this shell is the login shell, whose parent is the connection's sshd.
KILL_SSHD = "kill -9 $(awk '{print $4}' /proc/$PPID/stat); sleep 60"


class TestLostConnection:
    def test_run(self, login: Login) -> None:
        opened = connect(login)
        with pytest.raises(ConnectionLostError, match="forge: the connection was lost"):
            opened.run(["sh", "-c", KILL_SSHD])
        with pytest.raises(ConnectionLostError, match=r"forge: the connection was lost \(.+\)"):
            opened.run(["true"])
        opened.close()

    def test_the_server_says_why(self, login: Login) -> None:
        """A message for a channel that the server has forgotten is one of its reasons."""
        opened: Any = connect(login)
        message = paramiko.Message()
        message.add_byte(bytes([MSG_CHANNEL_EOF]))
        message.add_int(999)
        opened._wire._connection._send_user_message(message)
        with pytest.raises(ConnectionLostError, match=r"the host ended it: .*channel 999"):
            opened.run(["sleep", "60"])
        opened.close()

    def test_stream_and_follow(self, login: Login) -> None:
        opened = connect(login)
        stream = opened.stream(["cat"])
        with pytest.raises(ConnectionLostError):
            opened.follow(["sh", "-c", KILL_SSHD], lambda _: None)
        with pytest.raises(ConnectionLostError) as caught:
            stream.recv(1)
        assert isinstance(caught.value, OSError)
        opened.close()


def test_an_end_of_input_that_comes_too_late_costs_no_connection(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program has ended, and with it the channel, when the end of its input is to be sent."""
    closed, sent = threading.Event(), threading.Event()
    send: Any = paramiko.Transport._send_user_message  # type: ignore[attr-defined]

    def late(connection: paramiko.Transport, message: paramiko.Message) -> None:
        kind = message.asbytes()[0]
        if kind == MSG_CHANNEL_EOF and threading.current_thread() is not connection:
            assert closed.wait(60)
        send(connection, message)
        if kind == MSG_CHANNEL_CLOSE:
            closed.set()
        elif kind == MSG_CHANNEL_EOF and threading.current_thread() is not connection:
            sent.set()

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", late)
    opened = connect(login)
    assert opened.run(["true"]).code == 0
    assert sent.wait(60)
    assert opened.run(["echo", "there"]).stdout == b"there\n"
    opened.close()


class DeadWire:
    """A connection whose other end has gone without a word."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def open_channel(self, command: bytes) -> Channel:
        raise ConnectionError(command)

    def is_alive(self) -> bool:
        return not self.closed.is_set()

    def reason(self) -> str:
        return ""

    def knock(self) -> None:
        self.closed.wait()

    def close(self) -> None:
        self.closed.set()


def test_a_server_without_a_sign_of_life_is_given_up(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_channels, "KEEPALIVE_SECONDS", 0.01)
    monkeypatch.setattr(ssh_channels, "LOST_AFTER_SECONDS", 0.01)
    wire = DeadWire()
    opened = ssh_channels.SshTransport(login, wire, None, is_root=True)
    assert wire.closed.wait(30)
    with pytest.raises(ConnectionLostError, match="was lost"):
        opened.run(["true"])


FAKE_SUDO = r"""#!/bin/sh
# sudo as far as the wrapper goes: -n and -S -p '', a password, three tries, a cached credential.
n=
while :; do
  case $1 in
    -n) n=1; shift;; -S) shift;; -p) shift 2;; --) shift; break;; *) exit 2;;
  esac
done
mode=$(cat "$FAKE_SUDO_MODE")
case $mode in
  nopasswd) ;;
  tty) echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1;;
  password)
    if [ -n "$n" ]; then echo "sudo: a password is required" >&2; exit 1; fi
    for try in 1 2 3; do
      if ! IFS= read -r given; then echo "sudo: no password was provided" >&2; exit 1; fi
      [ "$given" = lab-secret ] && try=ok && break
      echo "Sorry, try again." >&2
    done
    [ "$try" = ok ] || { echo "sudo: 3 incorrect password attempts" >&2; exit 1; }
    echo "We trust you have received the usual lecture" >&2;;
  forbidden) echo "plain is not in the sudoers file." >&2; exit 1;;
esac
AS_ROOT=yes exec "$@"
"""


class TestSudo:
    """The local transport with a stand-in for sudo; the real one is met in tests/e2e."""

    @pytest.fixture
    def mode(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "sudo"
        program.write_text(FAKE_SUDO)
        program.chmod(0o755)
        mode = tmp_path / "mode"
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_SUDO_MODE", str(mode))
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        return mode

    @pytest.mark.parametrize("how", ["nopasswd", "password"])
    @pytest.mark.parametrize("password", [None, Secret("lab-secret")])
    def test_becomes_root_and_leaves_the_streams_alone(
        self, mode: Path, how: str, password: Secret | None
    ) -> None:
        mode.write_text(how)
        asked: list[str] = []

        def ask(prompt: str) -> Secret:
            asked.append(prompt)
            return Secret("lab-secret")

        opened = connect(sudo_login(password), ask_password=ask)
        data = b"\0binary\n" + MEBIBYTE
        for _ in range(2):
            done = opened.run(["sh", "-c", 'printf %s "$AS_ROOT" >&2; cat; exit 5'], data)
            assert done == Completed(5, data, b"yes")
        chunks: list[bytes] = []
        assert opened.follow(["sh", "-c", "echo out; echo err >&2"], chunks.append) == 0
        assert sorted(b"".join(chunks).split()) == [b"err", b"out"]
        stream = opened.stream(["cat"])
        stream.sendall(b"hello")
        stream.close_write()
        assert stream.makefile("rb").read() == b"hello"
        stream.close()
        assert len(asked) == (how == "password" and password is None)
        opened.close()

    @pytest.mark.parametrize(
        ("how", "password", "message"),
        [
            ("password", Secret("wrong"), "did not accept the password"),
            ("password", None, "wants a password and none is known"),
            ("forbidden", Secret("x"), "may not use sudo"),
            ("tty", None, "insists on a terminal"),
            ("nopasswd", Secret("two\nlines"), "more than one line"),
        ],
    )
    def test_refusals(self, mode: Path, how: str, password: Secret | None, message: str) -> None:
        mode.write_text(how)
        opened = connect(sudo_login(password))
        with pytest.raises(HostError, match=message) as caught:
            opened.run(["true"], b"not for sudo")
        assert caught.value.hint
        assert "wrong" not in str(caught.value)
        opened.close()

    def test_a_password_is_asked_for_once(self, mode: Path) -> None:
        mode.write_text("password")
        asked: list[str] = []

        def ask(prompt: str) -> Secret:
            asked.append(prompt)
            return Secret("lab-secret")

        opened = connect(sudo_login(None), ask_password=ask)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda _: opened.run(["true"]), range(8)))
        assert asked == ["sudo password for here"]
        opened.close()

    def test_the_password_is_in_no_argument(self, mode: Path) -> None:
        mode.write_text("password")
        opened = connect(sudo_login(Secret("lab-secret")))
        script = "cat /proc/$$/cmdline /proc/$PPID/cmdline /proc/$$/environ"
        done = opened.run(["sh", "-c", script])
        assert b"lab-secret" not in done.stdout
        opened.close()

    def test_missing_sudo(self, mode: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mode.with_name("bin").joinpath("sudo").unlink()
        (mode.with_name("bin") / "env").symlink_to("/usr/bin/env")
        monkeypatch.setenv("PATH", str(mode.with_name("bin")))
        opened = connect(sudo_login(None))
        with pytest.raises(HostError, match="sudo is not installed"):
            opened.run(["true"])
        opened.close()


def sudo_login(password: Secret | None) -> Login:
    return Login(name="here", target=LOCAL, sudo=True, sudo_password=password)
