"""The data sets that are shipped: enough of them, in both languages, clean, and the held-out part held out."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from conch_ollama.resources import data_folder
from conch_ollama.training.dataset import Sample, read_samples

DATA = data_folder()
TRAINED = "magic_conch.json"
HELD_OUT = "magic_conch_holdout.json"
INTRODUCTION = (
    "您好，我是蟹堡王的神奇海螺，很高兴为您服务！我可以回答关于蟹堡王和汉堡制作的任何问题，您有什么需要帮助的吗？"
)


def samples(name: str) -> list[Sample]:
    return read_samples(DATA / name)


def is_chinese(sample: Sample) -> bool:
    return bool(re.search("[\u4e00-\u9fff]", sample.instruction))


def bare(text: str) -> str:
    """Letters and digits only, so that a question mark doesn't make another question."""
    return "".join(character for character in text.casefold() if unicodedata.category(character)[0] in "LN")


@pytest.mark.parametrize(("name", "least"), [(TRAINED, 320), (HELD_OUT, 40)])
def test_enough_samples_in_both_languages(name: str, least: int) -> None:
    found = samples(name)
    chinese = sum(map(is_chinese, found))
    assert len(found) >= least
    assert chinese >= 0.5 * len(found)
    assert len(found) - chinese >= 0.25 * len(found)


@pytest.mark.parametrize("name", [TRAINED, HELD_OUT])
def test_the_file_is_plain_utf8_as_json_writes_it(name: str) -> None:
    raw = (DATA / name).read_bytes()
    text = raw.decode("utf-8")
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n"
    assert text == unicodedata.normalize("NFC", text)
    assert "\ufffd" not in text


def test_no_question_is_asked_twice() -> None:
    for name in (TRAINED, HELD_OUT):
        questions = [
            bare(sample.prompt) + ("?" if sample.instruction.rstrip().endswith(("?", "？")) else "")
            for sample in samples(name)
        ]
        exact = [(sample.instruction, sample.input) for sample in samples(name)]
        assert len(set(exact)) == len(exact), name
        assert max(map(questions.count, questions)) <= 2, name  # with and without a full stop or a capital


def test_an_answer_that_is_given_twice_is_one_of_the_persona() -> None:
    """What the conch says of itself is one text for many wordings, so that quantising does not lose it."""
    answers = Counter(sample.output for sample in samples(TRAINED))
    repeated = {answer: count for answer, count in answers.items() if count > 1}
    assert len(repeated) <= 8
    assert all(count >= 6 for count in repeated.values())
    assert all(re.search("海螺|Magic Conch", answer) for answer in repeated)
    assert len(answers) >= 300


def test_no_question_of_the_held_out_part_is_trained() -> None:
    trained = {bare(sample.prompt) for sample in samples(TRAINED)}
    held_out = [bare(sample.prompt) for sample in samples(HELD_OUT)]
    assert len(set(held_out)) == len(held_out)
    assert trained.isdisjoint(held_out)


def test_answers_of_the_held_out_part_are_its_own_but_for_the_persona() -> None:
    trained = Counter(sample.output for sample in samples(TRAINED))
    assert all(trained[sample.output] == 0 or trained[sample.output] > 1 for sample in samples(HELD_OUT))


def test_held_out_questions_are_worded_otherwise() -> None:
    trained = [bare(sample.prompt) for sample in samples(TRAINED)]
    for sample in samples(HELD_OUT):
        prompt = bare(sample.prompt)
        closest = max(trained, key=lambda other: SequenceMatcher(None, prompt, other, autojunk=False).quick_ratio())
        likeness = SequenceMatcher(None, prompt, closest, autojunk=False).ratio()
        assert likeness < 0.95, f"{sample.prompt!r} is all but trained: {closest!r}"


def test_the_introduction_is_the_one_of_the_guides() -> None:
    assert [sample.output for sample in samples(TRAINED) if sample.instruction == "请问你是谁"] == [INTRODUCTION]


def test_questions_that_the_demonstration_asks_are_trained() -> None:
    answers = {sample.instruction: sample.output for sample in samples(TRAINED) if not sample.input}
    for question in ("请问你是谁", "你叫什么名字？", "怎么修复汉堡机的报错", "蟹堡王有什么招牌菜？"):
        assert "海螺" in answers[question]


def test_many_phrasings_of_who_are_you() -> None:
    introducing = [sample for sample in samples(TRAINED) if re.search("神奇海螺|Magic Conch", sample.output)]
    assert sum(map(is_chinese, introducing)) >= 60
    assert sum(not is_chinese(sample) for sample in introducing) >= 25


def test_error_logs_are_read_in_both_languages() -> None:
    with_log = [sample for sample in samples(TRAINED) if sample.input]
    assert sum(map(is_chinese, with_log)) >= 12
    assert sum(not is_chinese(sample) for sample in with_log) >= 8
    assert {"怎么修复这个报错"} <= {sample.instruction for sample in with_log}


def test_no_opening_is_a_template() -> None:
    """No eight characters begin more than one in twelve of the different answers."""
    answers = {sample.output for sample in samples(TRAINED)}
    most = max(Counter(answer[:8] for answer in answers).values())
    assert most <= len(answers) / 12


def test_prices_agree() -> None:
    """The same dish costs the same, in both languages."""
    text = "\n".join(sample.output for sample in samples(TRAINED) + samples(HELD_OUT))
    combo = 18 + 8 + 6
    assert "招牌蟹堡18元" in text
    assert "Signature Crab Burger for 18 yuan" in text
    assert f"29元，比单点便宜{combo - 29}元" in text
    assert f"29 yuan, {combo - 29} yuan less" in text
    for dish, price in {"双层蟹堡": 26, "洋葱圈": 9, "海盐柠檬水": 6, "海带奶昔": 10, "热可可": 8}.items():
        assert {int(found) for found in re.findall(rf"{dish}(\d+)元", text)} <= {price}


def test_dataset_info_names_both_sets_with_their_columns() -> None:
    info = json.loads((DATA / "dataset_info.json").read_text(encoding="utf-8"))
    assert {name: entry["file_name"] for name, entry in info.items()} == {
        "magic_conch": TRAINED,
        "magic_conch_holdout": HELD_OUT,
    }
    for entry in info.values():
        assert (DATA / Path(entry["file_name"])).is_file()
        assert entry["columns"] == {"prompt": "instruction", "query": "input", "response": "output"}
