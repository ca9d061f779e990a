"""Which TEMPLATE an export writes and what it records: proven, native, a file, the nearest, and what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.record import text_sha256
from conch_ollama.errors import ConchError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.ollama.modelfile import Modelfile, load
from conch_ollama.workflows.export import export
from conch_ollama.workflows.results import ExportResult
from tests.parts.tiny import CHATML, config, write_adapter, write_model, write_tokenizer

REVERSED = "{% for m in messages|reverse %}[{{ m.role }}]{{ m.content }}{% endfor %}"
GO_CHATML = (
    "{{- range $i, $_ := .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}"
    '{{- if not (and (eq (len (slice $.Messages $i)) 1) (eq .Role "assistant")) }}<|im_end|>\n{{ end }}'
    '{{- if and (eq (len (slice $.Messages $i)) 1) (ne .Role "assistant") }}<|im_start|>assistant\n{{ end }}'
    "{{- end -}}"
)


def exported(tmp_path: Path, base: Path, **options: Any) -> tuple[ExportResult, Modelfile, dict[str, Any]]:
    result = export(base, types=["q8_0"], name="海螺 m", out=tmp_path / "out dir", check=False, **options)
    report = json.loads((tmp_path / "out dir" / "export.json").read_text(encoding="utf-8"))["template"]
    return result, load(result.modelfiles[0]), report


def keys(result: ExportResult) -> dict[str, Any]:
    with GGUFFile(result.gguf) as file:
        found = {key: value.data for key, value in file.metadata.items() if key.startswith("conch.template.")}
        return {key.removeprefix("conch.template."): value for key, value in found.items()}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base")


@pytest.fixture
def strange(base: Path) -> Path:
    write_tokenizer(base, chat_template=REVERSED)
    return base


def test_the_proof_stands_in_export_json_and_in_the_gguf(tmp_path: Path, base: Path) -> None:
    result, modelfile, report = exported(tmp_path, base)
    recorded = keys(result)
    assert (recorded["verdict"], recorded["strategy"]) == ("proven", report["strategy"])
    assert "user: equal" in list(recorded["classes"])
    for key in ("corpus", "template_sha256", "jinja_sha256", "ollama", "model"):
        assert recorded[key] == report[key]
    assert report["model"] == "海螺 m"
    assert report["classes"]["user"] == "equal"
    assert "joins" in report["not_equal"]["adjacent messages"]
    assert modelfile.template is not None


def test_native_has_no_template_and_says_which_ollama_guesses(tmp_path: Path, base: Path) -> None:
    result, modelfile, report = exported(tmp_path, base, template="native")
    assert modelfile.template is None
    assert modelfile.parameters["stop"]
    assert any("0.30" in comment for comment in modelfile.comments)
    assert any("0.30" in warning and "guess" in warning for warning in result.warnings)
    assert (report["strategy"], report["proven"], result.template) == ("native", False, None)
    assert keys(result)["strategy"] == "native"


def test_a_file_is_proven_too(tmp_path: Path, base: Path) -> None:
    file = tmp_path / "我的 template.gotmpl"
    file.write_text(GO_CHATML, encoding="utf-8")
    result, modelfile, report = exported(tmp_path, base, template=file)
    assert (report["strategy"], report["proven"], result.template) == ("file", True, "file")
    assert modelfile.template == GO_CHATML
    file.write_text(GO_CHATML.replace(".Role", ".Content"), encoding="utf-8")
    result, modelfile, report = exported(tmp_path, base, template=str(file), force=True)
    assert (report["proven"], result.template) == (False, None)
    assert "user" in report["reason"]
    assert modelfile.template is not None
    assert any("NOT PROVEN" in comment for comment in modelfile.comments)
    assert any("does not render" in warning for warning in result.warnings)


def test_the_nearest_where_it_is_allowed(tmp_path: Path, strange: Path) -> None:
    result, modelfile, report = exported(tmp_path, strange, allow_unproven=True)
    assert modelfile.template
    assert keys(result)["verdict"] == "not proven"
    assert (report["proven"], report["used"], result.template) == (False, True, None)
    assert report["reason"] and report["not_equal"]["user"]
    assert any("NOT PROVEN" in comment and report["reason"] in comment for comment in modelfile.comments)
    assert keys(result)["reason"] == report["reason"]


def trained(tmp_path: Path, text: str) -> Path:
    adapter = write_adapter(tmp_path / "adapter", config())
    (adapter / "training_args.yaml").write_text(text, encoding="utf-8")
    return adapter


def test_what_was_trained_is_what_is_compiled(tmp_path: Path, base: Path) -> None:
    adapter = trained(tmp_path, "template: alpaca\nstage: sft\n")
    result, modelfile, report = exported(tmp_path, base, adapters=[adapter])
    assert report["proven"]
    assert report["trained"]["template"] == "alpaca" and report["trained"]["used"]
    assert "### Instruction:" in (modelfile.template or "")
    with GGUFFile(result.gguf) as file:
        assert "### Instruction:" in file.metadata["tokenizer.chat_template"].data
    (warning,) = [text for text in result.warnings if "alpaca" in text]
    assert "+### Instruction:" in warning
    assert "<|im_start|>" in warning
    assert keys(result)["trained"] == "alpaca"
    assert any("alpaca" in comment for comment in modelfile.comments)


def test_the_tokenizers_own_stays_where_it_says_the_same(tmp_path: Path, base: Path) -> None:
    adapter = trained(tmp_path, "template: chatml\nstage: sft\n")
    result, modelfile, report = exported(tmp_path, base, adapters=[adapter])
    assert report["trained"]["used"] is False
    assert not any("chatml" in text for text in result.warnings)
    assert "<|im_start|>" in (modelfile.template or "")
    with GGUFFile(result.gguf) as file:
        assert file.metadata["tokenizer.chat_template"].data == CHATML


def test_a_name_that_is_given_wins(tmp_path: Path, base: Path) -> None:
    adapter = trained(tmp_path, "template: chatml\n")
    _, modelfile, report = exported(tmp_path, base, adapters=[adapter], train_template="alpaca")
    assert report["trained"]["by"] == "the user"
    assert "### Instruction:" in (modelfile.template or "")


def test_a_trained_template_that_nobody_knows_is_a_warning(tmp_path: Path, base: Path) -> None:
    adapter = trained(tmp_path, "template: my_own_format\n")
    result, modelfile, _ = exported(tmp_path, base, adapters=[adapter])
    assert any("my_own_format" in text for text in result.warnings)
    assert modelfile.template is not None


def test_the_gguf_gets_words_that_llama_cpp_takes_as_transformers_does(tmp_path: Path, base: Path) -> None:
    own = CHATML.replace("message['content']", "message['content'] | trim")
    write_tokenizer(base, chat_template=own)
    result, _, report = exported(tmp_path, base, plain_jinja=True)
    assert report["proven"]
    assert report["plain_jinja"]["used"] and report["plain_jinja"]["changes"]
    assert report["plain_jinja"]["original_sha256"] == text_sha256(own)
    with GGUFFile(result.gguf) as file:
        assert text_sha256(file.metadata["tokenizer.chat_template"].data) == report["jinja_sha256"]
    assert report["jinja_sha256"] != text_sha256(own)


def refused(tmp_path: Path, base: Path, code: str, *words: str, **options: Any) -> None:
    with pytest.raises(ConchError) as caught:
        export(base, types=["q8_0"], name="m", out=tmp_path / "out", check=False, **options)
    assert caught.value.code == code, caught.value.message
    for word in words:
        assert word in caught.value.message + (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


@pytest.mark.bad_input("a --train-template that nobody knows")
def test_an_unknown_name(tmp_path: Path, base: Path) -> None:
    refused(tmp_path, base, "not-found", "chatlm", "chatml", train_template="chatlm")


@pytest.mark.bad_input("--template native for a model without a chat template")
def test_native_without_a_chat_template(tmp_path: Path, base: Path) -> None:
    write_tokenizer(base, chat_template=None)
    refused(tmp_path, base, "template-mismatch", "no chat template", template="native")


@pytest.mark.bad_input("a TEMPLATE file that Ollama would refuse, for an export")
def test_a_file_that_does_not_parse(tmp_path: Path, base: Path) -> None:
    file = tmp_path / "broken.gotmpl"
    file.write_text("{{ range .Messages }}", encoding="utf-8")
    refused(tmp_path, base, "bad-template", "broken.gotmpl", template=file)


@pytest.mark.bad_input("a TEMPLATE file that is not text")
def test_a_file_that_is_not_text(tmp_path: Path, base: Path) -> None:
    file = tmp_path / "binary.gotmpl"
    file.write_bytes(b"\xff\xfe\x00{{")
    refused(tmp_path, base, "bad-template", "binary.gotmpl", template=file)
