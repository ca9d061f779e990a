"""`conch template` from outside: exit status, what is printed, what is JSON, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conch_ollama.ollama.modelfile import Modelfile, save
from tests.chat_template.references import source
from tests.cli.test_cli import conch

REVERSED = "{% for m in messages|reverse %}[{{ m.role }}]{{ m.content }}{% endfor %}"


@pytest.fixture
def chatml(tmp_path: Path) -> Path:
    path = tmp_path / "路径 x" / "chat ml.jinja"
    path.parent.mkdir()
    path.write_text(source("chatml"), encoding="utf-8")
    return path


def test_a_proven_one_is_printed_and_written(tmp_path: Path, chatml: Path) -> None:
    out = tmp_path / "TEMPLATE 模板"
    done = conch("template", chatml, "--eos", "<|im_end|>", "--no-engines", "-o", out)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert shown.startswith("chat ml: proven (curated:chatml)")
    for text in (
        "user ",
        "blank and odd contents",
        "equal",
        "not expressible",
        "stops",
        "<|im_end|>",
        "Ollama >= 0.30",
    ):
        assert text in shown
    assert "<|im_start|>" in out.read_text(encoding="utf-8")


def test_json_has_all_that_programs_need(chatml: Path) -> None:
    done = conch("template", chatml, "--no-engines", "--json", "--name", "我的模型")
    assert done.returncode == 0, done.stderr.decode()
    shown = json.loads(done.stdout)
    wanted = ("template", "stops", "system_default", "bos", "capabilities", "proven", "classes", "engines", "strategy")
    assert {*wanted, "reason", "warnings", "corpus"} <= set(shown)
    assert (shown["proven"], shown["model"]) == (True, "我的模型")


@pytest.mark.bad_input("a chat template that can't be expressed, on the command line")
def test_not_proven_is_exit_3_with_the_reason_and_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "odd.jinja"
    path.write_text(REVERSED, encoding="utf-8")
    out = tmp_path / "TEMPLATE"
    done = conch("template", path, "--no-engines", "-o", out)
    assert done.returncode == 3
    shown = done.stdout.decode()
    assert "odd: NOT PROVEN" in shown
    assert "not expressible: a message's text that is dropped, repeated or moved" in shown
    assert "first difference, in " in shown and "--- the model's chat template" in shown
    assert "not written" in done.stderr.decode()
    assert not out.exists()


@pytest.mark.parametrize(
    ("template", "status", "word"), [("chatml", 0, "right for"), ("{{ .Prompt }}", 3, "WRONG for")]
)
def test_against(tmp_path: Path, chatml: Path, template: str, status: int, word: str) -> None:
    from conch_ollama.chat_template.families import family_by_name

    text = family_by_name("chatml").text() if template == "chatml" else template
    path = tmp_path / "Modelfile"
    save(Modelfile(from_="./x.gguf", template=text, parameters={"stop": ("<|im_end|>", "<|im_start|>")}), path)
    done = conch("template", "--against", path, chatml)
    assert done.returncode == status, done.stderr.decode()
    assert word in done.stdout.decode()
    assert ("wrong: TEMPLATE" in done.stdout.decode()) == (status == 3)


@pytest.mark.bad_input("-o together with --against")
def test_against_writes_nothing(tmp_path: Path, chatml: Path) -> None:
    done = conch("template", "--against", tmp_path / "Modelfile", chatml, "-o", tmp_path / "x")
    assert done.returncode == 2
    assert b"--against" in done.stderr


@pytest.mark.bad_input("a chat template that is not there, on the command line")
def test_an_error_is_exit_1(tmp_path: Path) -> None:
    done = conch("template", tmp_path / "no.jinja")
    assert done.returncode == 1
    assert b"no.jinja" in done.stderr and b"[not-found]" in done.stderr
