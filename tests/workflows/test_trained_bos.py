"""Whether a BOS stands in front: as the adapter was trained, whatever the tokenizer does by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conch_ollama.exporter.inputs import open_inputs
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.sources.resolve import resolve_base
from conch_ollama.workflows.export import export
from conch_ollama.workflows.trained import Trained, with_trained_template
from tests.parts.tiny import CHATML, config, write_adapter, write_model, write_tokenizer

BOS = "<|endoftext|>"
WITH_BOS = "{{ bos_token }}" + CHATML
KEY = "tokenizer.ggml.add_bos_token"


def base(tmp_path: Path, chat_template: str, add_bos: bool) -> Path:
    folder = write_model(tmp_path / "base")
    write_tokenizer(folder, chat_template=chat_template)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "bos_token": BOS, "add_bos_token": add_bos}), encoding="utf-8")
    return folder


def adapter(tmp_path: Path, training: str) -> Path:
    folder = write_adapter(tmp_path / "adapter", config())
    (folder / "training_args.yaml").write_text(training, encoding="utf-8")
    return folder


def trained(model: Path, lora: Path, *, writes_vocabulary: bool = True) -> Trained:
    with open_inputs(resolve_base(model), [(lora, 1.0)]) as inputs:
        return with_trained_template(inputs, None, writes_vocabulary=writes_vocabulary)


@pytest.mark.parametrize(
    ("chat_template", "add_bos", "template", "becomes", "used"),
    [
        (CHATML, True, "chatml", False, False),
        (CHATML, True, "alpaca", False, True),
        (WITH_BOS, True, "chatml", False, True),  # its BOS goes too
        (WITH_BOS, False, "chatml", False, True),
        (CHATML, False, "chatml", False, False),
        (CHATML, True, "llama3", True, True),
        (CHATML, False, "llama3", False, True),  # it stands in the chat template
        (CHATML, True, "intern2", True, False),
        (CHATML, False, "intern2", True, False),
        (WITH_BOS, False, "intern2", False, False),
    ],
)
def test_a_bos_as_it_was_trained(
    tmp_path: Path, chat_template: str, add_bos: bool, template: str, becomes: bool, used: bool
) -> None:
    lora = adapter(tmp_path, f"template: {template}\ndefault_system: ''\n")
    found = trained(base(tmp_path, chat_template, add_bos), lora)
    vocabulary = found.inputs.vocabulary
    assert (vocabulary.add_bos, found.record["used"]) == (becomes, used)
    assert vocabulary.metadata()[KEY].data is becomes
    assert found.record.get("add_bos", add_bos) is becomes
    assert any("add_bos_token" in text for text in found.warnings) == (add_bos != becomes)
    written = BOS in vocabulary.chat_template or "bos_token" in vocabulary.chat_template  # type: ignore[operator]
    assert (written or becomes) == (template in ("llama3", "intern2"))


def test_where_nobody_says_what_was_trained_the_tokenizer_decides(tmp_path: Path) -> None:
    found = trained(base(tmp_path, CHATML, True), write_adapter(tmp_path / "adapter", config()))
    assert found.inputs.vocabulary.add_bos


def test_an_adapter_alone_leaves_the_vocabulary_of_its_base(tmp_path: Path) -> None:
    lora = adapter(tmp_path, "template: chatml\n")
    found = trained(base(tmp_path, CHATML, True), lora, writes_vocabulary=False)
    assert (found.inputs.vocabulary.add_bos, found.warnings) == (True, ())


@pytest.mark.parametrize("as_gguf", [False, True])
def test_the_gguf_has_it_and_the_proof_says_nothing_of_a_token_more(tmp_path: Path, as_gguf: bool) -> None:
    model: Path | str = base(tmp_path, CHATML, True)
    if as_gguf:  # whose keys are carried as they are
        first = export(model, types=["q8_0"], out=tmp_path / "first", check=False)
        assert any("the server puts" in text for text in first.warnings)
        model = first.gguf
    result = export(model, types=["q8_0"], out=tmp_path / "out", check=False, train_template="chatml")
    with GGUFFile(result.gguf) as file:
        assert file.metadata[KEY].data is False
    report = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))["template"]
    assert report["proven"]
    assert report["trained"]["add_bos"] is False
    assert not any("the server puts" in text for text in result.warnings)
