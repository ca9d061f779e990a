"""A TEMPLATE and its proof from whatever a model comes as; what can't be used is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.ollama_render import render_chat
from conch_ollama.chat_template.prove import ALTERED_KIND
from conch_ollama.chat_template.record import corpus_version, gguf_record
from conch_ollama.errors import ConchError
from conch_ollama.workflows.export import export
from conch_ollama.workflows.template import (
    COMPARED,
    NO_TOKENIZER,
    SAME_BYTES,
    TemplateResult,
    save_plain_jinja,
    save_template,
    template,
)
from tests.chat_template.references import index, source
from tests.chat_template.tiny_gguf import write_tiny_gguf
from tests.parts.tiny import CHATML, write_model, write_tokenizer

QUESTION = [{"role": "user", "content": "Hi"}]
WITH_BOS = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"


def proven(path: Path | str, **options: object) -> TemplateResult:
    return template(path, engines=False, **options)  # type: ignore[arg-type]


def written(folder: Path, text: str, name: str = "chat.jinja") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_gguf_and_all_that_its_verdict_says(smollm2_gguf: Path) -> None:
    found = proven(smollm2_gguf).as_dict()
    json.dumps(found)
    assert (found["proven"], found["strategy"], found["reason"]) == (True, "curated:smollm2", "")
    assert {found["classes"][kind]["verdict"] for kind in PLAIN} == {"equal"}
    assert "<|im_end|>" in found["stops"]
    assert found["system_default"].startswith("You are a helpful AI assistant named SmolLM")
    assert found["bos"] == "written by the TEMPLATE"
    assert (found["capabilities"], found["bypassed_by_new_ollama"]) == ([], False)
    assert found["token_ids"] == SAME_BYTES
    assert found["corpus"] == corpus_version()
    assert render_chat(found["template"], QUESTION).endswith("<|im_start|>assistant\n")


def test_what_ollama_joins_has_construct_limit_and_diff(smollm2_gguf: Path) -> None:
    joined = proven(smollm2_gguf).as_dict()["classes"]["adjacent messages"]
    assert joined["verdict"] == "not expressible"
    assert "joins" in joined["limit"] and joined["construct"]
    assert joined["diff"].startswith("--- the model's chat template")
    assert [message["content"] for message in joined["conversation"]["messages"]] == ["one", "two"]


def test_what_ollama_alters_is_named_and_no_obstacle(tmp_path: Path) -> None:
    path = written(tmp_path, source("deepseek-r1-distill"))
    tokens = {"bos": "<｜begin▁of▁sentence｜>", "eos": "<｜end▁of▁sentence｜>"}
    altered = proven(path, **tokens, name="me/deepseek-r1:1.5b").as_dict()
    assert altered["proven"]
    assert altered["classes"][ALTERED_KIND]["verdict"] == "altered by Ollama"
    assert altered["altered_by_ollama"]["conversations"] > 0
    assert "deepseek-r1" in altered["altered_by_ollama"]["why"]
    other = proven(path, **tokens, name="another").as_dict()
    assert (other["proven"], other["altered_by_ollama"]) == (True, None)


def test_a_bare_jinja_takes_the_bos_as_added_by_the_server(tmp_path: Path) -> None:
    path = written(tmp_path / "路径 with spaces", WITH_BOS, "我的 template.jinja")
    found = proven(path, bos="<s>").as_dict()
    assert (found["proven"], found["bos"], found["token_ids"]) == (True, "added by the server", NO_TOKENIZER)
    assert render_chat(found["template"], QUESTION) == "[user]Hi[/]"
    silent = proven(written(tmp_path, CHATML), bos="<s>").as_dict()
    assert (silent["bos"], silent["warnings"]) == ("none", [])


def test_tokenizer_config_alone_says_its_tokens(tmp_path: Path) -> None:
    config = {
        "bos_token": {"content": "<s>", "special": True},
        "eos_token": "</s>",
        "add_bos_token": False,
        "chat_template": [{"name": "default", "template": WITH_BOS}, {"name": "rag", "template": "{{ x }}"}],
    }
    path = written(tmp_path / "model", json.dumps(config), "tokenizer_config.json")
    found = proven(path).as_dict()
    assert (found["bos"], found["eos_token"], found["model"]) == ("written by the TEMPLATE", "</s>", "model")
    assert found["template"].startswith("<s>") or "<s>" in found["template"]


def folder_with_bos(folder: Path) -> Path:
    write_model(folder)
    write_tokenizer(folder, chat_template=WITH_BOS)
    path = folder / "tokenizer_config.json"
    settings = {**json.loads(path.read_text(encoding="utf-8")), "add_bos_token": True}
    path.write_text(json.dumps(settings), encoding="utf-8")
    return folder


def test_token_ids_are_compared_where_a_bos_is_taken_off(tmp_path: Path) -> None:
    folder = folder_with_bos(tmp_path / "海螺 model")
    found = proven(folder).as_dict()
    assert (found["proven"], found["token_ids"], found["bos"]) == (True, COMPARED, "added by the server")
    assert found["bos_token"] == "<|im_start|>"
    exported = export(folder, types=["q8_0"], name="m", out=tmp_path / "out", check=False)
    by_llama_cpp = proven(exported.gguf).as_dict()
    assert (by_llama_cpp["proven"], by_llama_cpp["token_ids"]) == (True, COMPARED)
    recorded = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))["template"]
    assert recorded["token_ids"] == COMPARED


def test_a_folder_without_the_large_file_and_without_weights(tmp_path: Path) -> None:
    folder = folder_with_bos(tmp_path / "small")
    for path in [*folder.glob("*.safetensors"), folder / "tokenizer.json"]:
        path.unlink()
    found = proven(folder).as_dict()
    assert (found["proven"], found["token_ids"]) == (True, NO_TOKENIZER)


def test_a_date_is_the_reason(tmp_path: Path) -> None:
    named = index()["llama3.2"]
    found = proven(written(tmp_path, source("llama3.2")), bos=named.bos_token, eos=named.eos_token)
    shown = found.as_dict()
    assert not shown["proven"]
    assert "date" in shown["reason"]
    assert shown["template"]
    assert gguf_record(found.proven.record)["verdict"] == "not proven"


def test_llama_cpp_is_asked_and_other_words_are_offered(tmp_path: Path) -> None:
    found = template(written(tmp_path, CHATML))
    assert found.as_dict()["engines"]["llama.cpp"]["proven"] is True
    save_plain_jinja(found, tmp_path / "same.jinja")
    assert (tmp_path / "same.jinja").read_text(encoding="utf-8") == CHATML
    other = TemplateResult(found.proven, {"llama.cpp": {"proven": False, "corrected": "{{ other words }}"}})
    save_plain_jinja(other, tmp_path / "other.jinja")
    assert (tmp_path / "other.jinja").read_text(encoding="utf-8") == "{{ other words }}"


@pytest.mark.bad_input("a chat template that prints messages in another order: not proven, and not written")
def test_an_unproven_template_is_not_written(tmp_path: Path) -> None:
    found = proven(written(tmp_path, "{% for m in messages|reverse %}[{{ m.role }}]{{ m.content }}{% endfor %}"))
    assert not found.proof.proven
    with pytest.raises(ConchError) as caught:
        save_plain_jinja(found, tmp_path / "out.jinja")  # llama.cpp was not asked
    assert caught.value.code == "template-mismatch"
    assert not (tmp_path / "out.jinja").exists()
    with pytest.raises(ConchError) as caught:
        save_template(found, tmp_path / "out.gotmpl")
    assert caught.value.code == "template-mismatch"
    assert "out.gotmpl" in caught.value.message
    assert not (tmp_path / "out.gotmpl").exists()
    save_template(found, tmp_path / "out.gotmpl", allow_unproven=True)
    assert (tmp_path / "out.gotmpl").read_text(encoding="utf-8") == found.proof.template


@pytest.mark.bad_input("a folder to write the TEMPLATE into that is not there")
def test_a_template_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConchError) as caught:
        save_template(proven(written(tmp_path, CHATML)), tmp_path / "no" / "TEMPLATE")
    assert caught.value.code == "not-writable"


def refused(path: Path, code: str, *words: str) -> None:
    with pytest.raises(ConchError) as caught:
        proven(path)
    assert caught.value.code == code, caught.value.message
    for word in words:
        assert word in caught.value.message + (caught.value.hint or "")


@pytest.mark.bad_input("a GGUF cut short, for its chat template")
def test_a_gguf_cut_short(tmp_path: Path, smollm2_gguf: Path) -> None:
    path = tmp_path / "半 cut.gguf"
    with smollm2_gguf.open("rb") as file:
        path.write_bytes(file.read(500_000))
    refused(path, "truncated-file", str(path))


@pytest.mark.bad_input("a GGUF without a chat template")
def test_a_gguf_without_chat_template(tmp_path: Path) -> None:
    refused(write_tiny_gguf(tmp_path / "bare.gguf"), "not-found", "bare", "chat template", "FILE.jinja")


@pytest.mark.bad_input("a text file without any Jinja, as a chat template")
def test_not_jinja(tmp_path: Path) -> None:
    path = written(tmp_path, "You are a helpful assistant.\n", "notes.txt")
    refused(path, "bad-template", str(path), "no Jinja")


@pytest.mark.bad_input("a binary file as a chat template")
def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "photo.jinja"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    refused(path, "bad-template", str(path), "UTF-8")


@pytest.mark.bad_input("a chat template with a syntax error, given alone")
def test_a_syntax_error(tmp_path: Path) -> None:
    refused(written(tmp_path, "{% for m in messages %}{{ m.content }}"), "bad-template", "line 1")


@pytest.mark.bad_input("a chat template that refuses one question, given alone")
def test_a_template_that_refuses_one_question(tmp_path: Path) -> None:
    refused(written(tmp_path, "{{ raise_exception('never') }}"), "template-refused", "never")


@pytest.mark.bad_input("tokenizer.json where a chat template is wanted")
def test_tokenizer_json(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    refused(tmp_path / "tokenizer.json", "usage", "tokenizer.json", str(tmp_path))


@pytest.mark.bad_input("one file of weights where a chat template is wanted")
def test_a_file_of_weights(tmp_path: Path) -> None:
    write_model(tmp_path)
    refused(next(tmp_path.glob("*.safetensors")), "usage", ".safetensors")


@pytest.mark.bad_input("a tokenizer_config.json that is no JSON")
def test_a_broken_tokenizer_config(tmp_path: Path) -> None:
    refused(written(tmp_path, '{"chat_template": ', "tokenizer_config.json"), "bad-config", "tokenizer_config.json")


@pytest.mark.bad_input("a folder without a chat template")
def test_a_folder_without_chat_template(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_tokenizer(tmp_path, chat_template=None)
    refused(tmp_path, "not-found", str(tmp_path), "chat template")
    shutil.rmtree(tmp_path)
    path = written(tmp_path, json.dumps({"bos_token": "<s>"}), "tokenizer_config.json")
    refused(path, "not-found", str(path), "chat template")


@pytest.mark.bad_input("named chat templates of which none is the default")
def test_no_default_template(tmp_path: Path) -> None:
    config = {"chat_template": [{"name": "tool_use", "template": CHATML}]}
    refused(written(tmp_path, json.dumps(config), "tokenizer_config.json"), "not-found", "tool_use")
