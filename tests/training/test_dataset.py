"""Reading alpaca files: what is right comes back as it is, what would train something else is refused by its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import BadFileError, NotFoundError
from conch_ollama.training.dataset import Sample, read_samples

GOOD = {"instruction": "你是谁", "input": "", "output": "神奇海螺"}


def write(path: Path, entries: Any) -> Path:
    path.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    return path


def test_samples_come_back_in_order(tmp_path: Path) -> None:
    other = {"instruction": "What does this mean?", "input": "E03\nempty", "output": "Fill the tray.\nThen go on."}
    path = write(tmp_path / "海螺 data.json", [GOOD, other])
    assert read_samples(path) == [Sample(**GOOD), Sample(**other)]


def test_a_conversation_is_what_llama_factory_makes_of_it() -> None:
    assert Sample(**GOOD).messages == [
        {"role": "user", "content": "你是谁"},
        {"role": "assistant", "content": "神奇海螺"},
    ]
    assert Sample("修", "E03", "补满").prompt == "修\nE03"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"instruction": "a", "output": "b"}, "exactly the fields"),
        (GOOD | {"system": "x"}, "exactly the fields"),
        (["a"], "exactly the fields"),
        (GOOD | {"output": 3}, "output of sample 1"),
        (GOOD | {"output": ""}, "output of sample 1"),
        (GOOD | {"instruction": ""}, "instruction of sample 1"),
        (GOOD | {"output": "b "}, "white space"),
        (GOOD | {"output": "a\tb"}, "U+0009"),
        (GOOD | {"input": "a\x00b"}, "U+0000"),
        (GOOD | {"output": "a\r\nb"}, "U+000D"),
        (GOOD | {"output": "a\ue000b"}, "U+E000"),
    ],
)
@pytest.mark.bad_input("a sample of a data set that is not whole or not clean")
def test_a_bad_sample_is_named(tmp_path: Path, entry: Any, said: str) -> None:
    path = write(tmp_path / "set.json", [{**GOOD, "instruction": "other"}, entry])
    before = path.read_bytes()
    with pytest.raises(BadFileError) as caught:
        read_samples(path)
    assert caught.value.code == "bad-file"
    assert said in caught.value.message
    assert f"sample 1 of {path}" in caught.value.message
    assert path.read_bytes() == before


@pytest.mark.bad_input("one question twice in a data set")
def test_a_question_asked_twice_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "set.json", [GOOD, GOOD | {"output": "别的"}])
    with pytest.raises(BadFileError, match=r"samples 0 and 1 of .* ask the same: '你是谁'") as caught:
        read_samples(path)
    assert caught.value.code == "bad-file"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (json.dumps([GOOD], ensure_ascii=False).encode("gb18030"), "is not UTF-8"),
        (b'[{"instruction": ', "is no JSON"),
        (b"{}", "is no list of samples"),
        (b"[]", "is no list of samples"),
    ],
)
@pytest.mark.bad_input("a data set that is not a UTF-8 JSON list")
def test_a_file_that_is_no_data_set(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "set.json"
    path.write_bytes(raw)
    with pytest.raises(BadFileError) as caught:
        read_samples(path)
    assert caught.value.code == "bad-file"
    assert caught.value.message.startswith(f"{path} {said}")


@pytest.mark.bad_input("a data set that is not there")
def test_no_data_set(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    with pytest.raises(NotFoundError) as caught:
        read_samples(path)
    assert caught.value.code == "not-found"
    assert str(path) in caught.value.message
    assert list(tmp_path.iterdir()) == []
