from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.target import LOCAL, SshTarget, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root@forge.lan", SshTarget("root", "forge.lan", None)),
        ("ops@10.0.0.7:2222", SshTarget("ops", "10.0.0.7", 2222)),
        ("root@[fd00::1]:22", SshTarget("root", "fd00::1", 22)),
        ("[fd00::1]", SshTarget(None, "fd00::1", None)),
        ("root@fd00::1", SshTarget("root", "fd00::1", None)),
        ("ops@[fe80::1%eth0]:22", SshTarget("ops", "fe80::1%eth0", 22)),
        ("ssh://u@h:22", SshTarget("u", "h", 22)),
        ("ssh://u@h/", SshTarget("u", "h", None)),
        ("forge", SshTarget(None, "forge", None)),
        ("build_host-1", SshTarget(None, "build_host-1", None)),
        ("local", LOCAL),
        ("root@local", SshTarget("root", "local", None)),
    ],
)
def test_reads(text: str, expected: object) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("@forge", "empty user"),
        ("root@", "names no host"),
        ("-oProxyCommand=id", "dash"),
        ("root@-oProxyCommand=id", "dash"),
        ("root@forge lan", "host name is made of"),
        ("root@forge;id", "host name is made of"),
        ("root@$(id)", "host name is made of"),
        ("root@forge\n", "host name is made of"),
        ("ro ot@forge", "user name"),
        ("-l@forge", "user name"),
        ("root:secret@forge", "cannot hold a password"),
        ("forge:0", "1 to 65535"),
        ("forge:65536", "1 to 65535"),
        ("forge:", "1 to 65535"),
        ("forge:٢٢", "1 to 65535"),
        ("a:b:c", "IPv6"),
        ("[fd00::1", "brackets"),
        ("[forge]:22", "brackets"),
        ("https://forge", "only ssh://"),
    ],
)
def test_refuses_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_target(text)


def test_never_repeats_a_password() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        parse_target("root:hunter2@forge")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=40))
def test_only_harmless_text_becomes_a_target(text: str) -> None:
    try:
        target = parse_target(text)
    except ValueError:
        return
    if isinstance(target, SshTarget):
        assert not target.host.startswith("-")
        assert not set(target.host) & set(" \t\n;|&$`'\"\\<>()*?/")
        assert target.user != ""


@given(
    st.builds(
        SshTarget,
        st.none() | st.from_regex(r"[a-z_][a-z0-9_-]{0,20}", fullmatch=True),
        st.from_regex(r"[a-z][a-z0-9]{0,10}(\.[a-z]{1,5})?", fullmatch=True)
        | st.ip_addresses().map(str),
        st.none() | st.integers(1, 65535),
    ).filter(lambda target: str(target) != "local")
)
def test_text_of_a_target_reads_back(target: SshTarget) -> None:
    assert parse_target(str(target)) == target
