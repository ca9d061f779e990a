"""Is this Modelfile right for this model? The TEMPLATE, the BOS, the stops and SYSTEM, each fault by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.chat_template.families import family_by_name
from conch_ollama.errors import ConchError
from conch_ollama.ollama.modelfile import Modelfile, save
from conch_ollama.workflows.against import Against, against
from tests.chat_template.references import source

CHATML = family_by_name("chatml").text()
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"


def modelfile(folder: Path, template: str | None, **fields: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save(Modelfile(from_="./x.gguf", template=template, **fields), folder / "Modelfile")  # type: ignore[arg-type]
    return folder / "Modelfile"


def jinja(folder: Path, name: str) -> Path:
    path = folder / f"{name}.jinja"
    path.write_text(source(name), encoding="utf-8")
    return path


def codes(held: Against, *, wrong: bool) -> list[str]:
    return [finding.code for finding in held.findings if finding.wrong == wrong]


def test_a_right_one(tmp_path: Path, smollm2_gguf: Path) -> None:
    stops = ("<|im_end|>", "<|im_start|>")
    path = modelfile(tmp_path / "海螺 dir", family_by_name("smollm2").text(), parameters={"stop": stops})
    held = against(path.parent, smollm2_gguf)
    assert held.right and held.proof.proven
    assert held.findings == ()
    assert held.as_dict()["classes"]["user"] == {"verdict": "equal"}


def test_another_template_is_wrong_with_a_diff_and_what_else_is_to_be_known(tmp_path: Path, smollm2_gguf: Path) -> None:
    path = modelfile(tmp_path, CHATML, system="You are a conch.", parameters={"stop": ("<|im_end|>",)})
    held = against(path, smollm2_gguf)
    assert not held.right
    assert codes(held, wrong=True) == ["template"]
    assert codes(held, wrong=False) == ["missing-stop", "system"]
    assert "curated:smollm2" in held.findings[0].advice
    assert "SmolLM" in held.findings[2].message
    shown = held.as_dict()
    assert shown["classes"]["system"]["verdict"] == "equal"
    assert "-You are a helpful AI assistant" in shown["classes"]["user"]["diff"]


def test_a_bos_that_would_double_and_one_that_lacks(tmp_path: Path) -> None:
    model = jinja(tmp_path, "deepseek-v3")
    text = family_by_name("deepseek-v3").text()
    double = against(modelfile(tmp_path / "a", BOS + text), model, bos=BOS, eos=EOS)
    assert codes(double, wrong=True) == ["template", "double-bos"]
    assert f"+{BOS}" in double.as_dict()["classes"]["user"]["diff"]
    once = against(modelfile(tmp_path / "b", text), model, bos=BOS, eos=EOS)
    assert once.right


def test_a_stop_that_lacks_where_the_vocabulary_does_not_end(tmp_path: Path) -> None:
    path = modelfile(tmp_path, family_by_name("smollm2").text())
    held = against(path, jinja(tmp_path, "smollm2"), eos="</s>")
    assert held.proof.proven
    assert not held.right
    wrong = [finding for finding in held.findings if finding.wrong]
    assert [finding.code for finding in wrong] == ["missing-stop"]
    assert "<|im_end|>" in wrong[0].message and "PARAMETER stop" in wrong[0].advice


@pytest.mark.bad_input("a Modelfile without TEMPLATE, to be held against a model")
def test_a_modelfile_without_template(tmp_path: Path) -> None:
    path = modelfile(tmp_path, None)
    with pytest.raises(ConchError) as caught:
        against(path, jinja(tmp_path, "chatml"))
    assert caught.value.code == "template-mismatch"
    assert str(path) in caught.value.message
    assert "conch template" in (caught.value.hint or "")


@pytest.mark.bad_input("a Modelfile whose TEMPLATE Ollama would refuse")
def test_a_template_that_does_not_parse(tmp_path: Path) -> None:
    with pytest.raises(ConchError) as caught:
        against(modelfile(tmp_path, "{{ if .Prompt }}"), jinja(tmp_path, "chatml"))
    assert caught.value.code == "bad-template"


@pytest.mark.bad_input("a Modelfile that is not there, to be held against a model")
def test_no_modelfile(tmp_path: Path) -> None:
    with pytest.raises(ConchError) as caught:
        against(tmp_path / "Modelfile", jinja(tmp_path, "chatml"))
    assert caught.value.code == "not-found"
    assert str(tmp_path / "Modelfile") in caught.value.message
