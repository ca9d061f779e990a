from __future__ import annotations

import pytest
from hypothesis import given

from conch_ollama.ollama.grammar import (
    exact_comment,
    exact_value,
    is_printable,
    quoted,
    reads_back,
    stand_in,
    why_unwritable,
)
from conch_ollama.ollama.modelfile import parse
from tests.ollama.strategies import texts


@pytest.mark.parametrize("rune", ["a", "海", "｜", "▁", " ", "🍔", "é", "\u0301", "€", "\ufffd"])
def test_printable_runes(rune: str) -> None:
    assert is_printable(rune)


@pytest.mark.parametrize(
    "rune", ["\u00a0", "\u3000", "\u200d", "\u2028", "\u00ad", "\ue000", "\x00", "\t", "\n", "\ufeff"]
)
def test_runes_that_go_does_not_call_printable(rune: str) -> None:
    assert not is_printable(rune)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", '"""plain"""'),
        ("", '""""""'),
        ('ends with "', '"""ends with """"'),
        ('"starts', '""""starts"""'),
        ('three """ in mid-line', '"""three """ in mid-line"""'),
        ("\nnew lines\n", '"""\nnew lines\n"""'),
        ("crlf\r\nkept", '"""crlf\r\nkept"""'),
        ('"\n"', '""""\n""""'),
    ],
)
def test_how_values_are_quoted(value: str, written: str) -> None:
    assert quoted(value) == written


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\u00a0b", "U+00A0"),
        ("全角\u3000空格", "U+3000"),
        ("👨\u200d👩", "U+200D"),
        ('a"""\nb', 'ends with """'),
        ('"""\n', 'ends with """'),
        ('a"""  \nb', 'ends with """'),
    ],
)
def test_values_that_no_modelfile_holds(value: str, reason: str) -> None:
    assert quoted(value) is None
    assert reason in str(why_unwritable(value))
    assert quoted(stand_in(value)) is not None


@given(texts)
def test_what_is_quoted_reads_back_in_a_file(value: str) -> None:
    written = quoted(value)
    if written is not None:
        assert parse(f"FROM x\nSYSTEM {written}\nPARAMETER seed 1\n").system == value
    else:
        assert why_unwritable(value)


@given(texts)
def test_stand_in_is_always_writable(value: str) -> None:
    near = stand_in(value)
    assert quoted(near) is not None
    assert stand_in(near) == near


@given(texts)
def test_an_exact_comment_is_one_line_of_ascii(value: str) -> None:
    comment = exact_comment(value)
    assert comment.isascii()
    assert "\n" not in comment
    assert exact_value(comment) == value


def test_other_comments_carry_no_value() -> None:
    assert exact_value("made by conch") is None
    assert exact_value("conch exact: [1]") is None
    assert exact_value("conch exact: not JSON") is None


def test_bare_text_that_looks_quoted_does_not_read_back() -> None:
    assert not reads_back('"a', "")
    assert not reads_back(" a", "")
    assert not reads_back("a\nb", "")
    assert reads_back('a"', "")
