"""Where chat templates come from, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import BadConfigError
from conch_ollama.tokenizers.chat_templates import ChatTemplates, read_chat_templates, template_name
from conch_ollama.tokenizers.tokenizer_files import read_tokenizer_files
from tests.tokenizers.folders import write_folder


def templates(folder: Path, chat_template: Any = None, **files: Any) -> ChatTemplates:
    config = {} if chat_template is None else {"chat_template": chat_template}
    return read_chat_templates(read_tokenizer_files(write_folder(folder, tokenizer_config=config, **files)))


def test_none(tmp_path: Path) -> None:
    assert templates(tmp_path) == ChatTemplates(None, {})


def test_in_tokenizer_config(tmp_path: Path) -> None:
    assert templates(tmp_path, "{{ messages }}") == ChatTemplates("{{ messages }}", {})


def test_named_ones(tmp_path: Path) -> None:
    listed = [
        {"name": "default", "template": "d"},
        {"name": "tool_use", "template": "t"},
        {"name": "rag-2", "template": "r"},
    ]
    assert templates(tmp_path / "a", listed) == ChatTemplates("d", {"tool_use": "t", "rag_2": "r"})
    assert templates(tmp_path / "b", {"default": "d", "x": "y"}) == ChatTemplates("d", {"x": "y"})
    assert templates(tmp_path / "c", listed[1:2]) == ChatTemplates(None, {"tool_use": "t"})


def test_the_jinja_file_wins(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes("第一行\r\n{{ messages }}\n".encode())
    assert templates(tmp_path, "old").default == "第一行\n{{ messages }}\n"


def test_additional_files(tmp_path: Path) -> None:
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("t", encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text("d", encoding="utf-8")
    assert templates(tmp_path) == ChatTemplates("d", {"tool_use": "t"})


def test_the_legacy_json_comes_last(tmp_path: Path) -> None:
    legacy = {"chat_template": "legacy"}
    for config, wanted in ({}, "legacy"), ({"chat_template": "new"}, "new"):
        folder = write_folder(tmp_path / wanted, tokenizer_config=config, chat_template=legacy)
        assert read_chat_templates(read_tokenizer_files(folder)).default == wanted


@pytest.mark.parametrize(("config", "wanted"), [({}, "base's"), ({"chat_template": "adapter's"}, "adapter's")])
def test_an_adapter_without_a_template_leaves_the_model_s(tmp_path: Path, config: dict[str, str], wanted: str) -> None:
    model, adapter = tmp_path / "model", write_folder(tmp_path / "adapter", tokenizer_config=config)
    model.mkdir()
    (model / "chat_template.jinja").write_text("base's", encoding="utf-8")
    assert read_chat_templates(read_tokenizer_files(adapter, model)).default == wanted
    assert read_chat_templates(read_tokenizer_files(adapter)).default == config.get("chat_template")


def test_names_become_keys() -> None:
    assert template_name("tool use/2") == "tool_use_2"


@pytest.mark.bad_input("a chat template of a wrong type")
@pytest.mark.parametrize(
    "value",
    [7, True, [["default", "d"]], [{"name": "default"}], [{"template": "d"}], [{"name": 1, "template": "d"}]],
    ids=repr,
)
def test_wrong_type(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BadConfigError, match="`chat_template`") as caught:
        templates(tmp_path, value)
    assert caught.value.code == "bad-config"
    assert str(tmp_path / "tokenizer_config.json") in caught.value.message


@pytest.mark.bad_input("a chat template file that is not UTF-8")
def test_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes("海螺".encode("gbk"))
    with pytest.raises(BadConfigError, match="UTF-8") as caught:
        templates(tmp_path)
    assert str(tmp_path / "chat_template.jinja") in caught.value.message
