"""`${…}` as github.com/drone/envsubst reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.pipeline.substitution import substitute
from runnerkit.pipeline.yaml_lines import PipelineError

VALUES = {
    "MIXED": "abcdEFGH28ij",
    "CAPS": "ABCDEFGH28IJ",
    "PATH_NAME": "/home/bozo/ideas/thoughts.for.today",
    "REPEATED": "abcABC123ABCabc",
    "FILE": "bash.string.txt",
    "DIRS": "path/to/file",
    "DRONE_TAG": "v1.2.3",
    "EMPTY": "",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no dollar", "no dollar"),
        ("a${MIXED}b", "aabcdEFGH28ijb"),
        ("$MIXED and ${UNKNOWN}.", "$MIXED and ."),
        ("${#MIXED}", "12"),
        ("${MIXED^}", "AbcdEFGH28ij"),
        ("${MIXED^^}", "ABCDEFGH28IJ"),
        ("${CAPS,}", "aBCDEFGH28IJ"),
        ("${CAPS,,}", "abcdefgh28ij"),
        ("${PATH_NAME:11}", "ideas/thoughts.for.today"),
        ("${PATH_NAME:11:5}", "ideas"),
        ("${PATH_NAME:-5}", "/home/bozo/ideas/thoughts.for.today"),
        ("${DRONE_TAG:x}", "v1.2.3"),
        ("${DRONE_TAG:99}", ""),
        ("${EMPTY=xyz}${MIXED=no}", "xyzabcdEFGH28ij"),
        ("${EMPTY:=xyz}${UNKNOWN:-b}${MIXED:+c}", "xyzbabcdEFGH28ij"),
        ("${EMPTY=pre-${DRONE_TAG}-suf}", "pre-v1.2.3-suf"),
        ("${EMPTY=${MIXED^^}}", "ABCDEFGH28IJ"),
        ("${REPEATED/%abc/XYZ}", "abcABC123ABCXYZ"),
        ("${REPEATED/#abc/XYZ}", "XYZABC123ABCabc"),
        ("${REPEATED//abc/xyz}", "xyzABC123ABCxyz"),
        ("${REPEATED/abc/}", "ABC123ABCabc"),
        (r"${DIRS/\//-}", "path-to/file"),
        ("${FILE#*.}", "string.txt"),
        ("${FILE##*.}", "txt"),
        ("${DIRS##*/}", "file"),
        ("${FILE%.*}", "bash.string"),
        ("${FILE%%.*}", "bash"),
        ("${DRONE_TAG##v}", "1.2.3"),
        ("$${MIXED} $$HOME", "${MIXED} $HOME"),
        (r"C:\\ and \/ and \n", r"C:\ and / and \n"),
    ],
)
def test_expansions(text: str, expected: str) -> None:
    assert substitute(text, VALUES) == expected


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${A.b}", "${A/b}", "${A:-x", "${ A}"])
def test_what_cannot_be_read_is_named_with_its_line(text: str) -> None:
    with pytest.raises(PipelineError) as raised:
        substitute(f"first line\n{text}", VALUES)
    assert raised.value.line == 2
    assert text[:3].strip() in raised.value.what


@given(st.text(st.characters(exclude_characters="$\\")))
def test_text_without_dollar_and_backslash_is_untouched(text: str) -> None:
    assert substitute(text, VALUES) == text
