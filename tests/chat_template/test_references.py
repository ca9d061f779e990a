"""The reference chat templates: complete, and rendered by us as by transformers (whose texts are committed)."""

from __future__ import annotations

import pytest

from tests.chat_template.references import FOLDER, MOMENT, REFERENCES, index
from tests.chat_template.renderings import CHATS, EXPECTED, expected, ours

#: Every family that has to be there, by a template of it.
FAMILIES = (
    *("smollm2", "qwen2.5", "qwen3", "deepseek-r1-distill", "deepseek-r1-distill-llama", "deepseek-v3", "llama2"),
    *("llama3", "llama3.1", "gemma2", "gemma3", "mistral-7b-v0.1", "mistral-7b-v0.3", "mixtral", "phi-3", "phi-3.5"),
    *("phi-4", "zephyr", "tinyllama", "yi", "internlm2", "glm-4", "minicpm", "granite-3.0", "granite-3.3"),
    *("command-r", "olmo2", "falcon3", "gpt-oss", "hermes"),
)


@pytest.mark.parametrize("name", index())
def test_we_render_what_transformers_rendered(name: str) -> None:
    wanted = expected(name)
    assert list(wanted) == list(CHATS)
    template = index()[name].template()
    found = {chat: ours(template, CHATS[chat]) for chat in wanted}
    assert found == wanted
    assert sum(isinstance(text, str) for text in wanted.values()) >= 7
    assert len({str(text) for text in wanted.values()}) > 7


def test_the_index_names_every_file_once() -> None:
    files = {path.stem for path in FOLDER.glob("*.jinja")}
    assert files == set(index()) == {path.stem for path in EXPECTED.glob("*.json")}
    assert set(FAMILIES) | set(REFERENCES) <= files


@pytest.mark.parametrize("name", index())
def test_the_index_tells_the_truth(name: str) -> None:
    reference = index()[name]
    text = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    assert reference.text in {"own", "written"}
    assert reference.licence in {"Apache-2.0", "MIT"}
    assert reference.model
    assert reference.source
    assert ("strftime_now" in text) == reference.dated
    if reference.text == "written":
        assert reference.licence == "Apache-2.0", "written here, so under our licence"
    year = str(MOMENT.year)
    assert any(year in str(one) for one in expected(name).values()) == reference.dated


@pytest.mark.parametrize("name", REFERENCES)
def test_the_table_of_matches_agrees_with_the_index(name: str) -> None:
    _, bos, add_bos = REFERENCES[name]
    assert (bos, add_bos) == (index()[name].bos_token, index()[name].add_bos)


def test_the_variety_that_a_compiler_meets_is_there() -> None:
    """System texts refused, dropped or in the last question; contents trimmed or not."""
    system = {name: expected(name)["system"] for name in index()}
    refusing = {name for name, text in system.items() if isinstance(text, dict)}
    dropping = {name for name, text in system.items() if isinstance(text, str) and "神奇海螺" not in text}
    assert {"gemma2", "mistral-7b-v0.2-first", "refusing"} <= refusing
    assert {"phi-3-first", "phi-3-medium"} <= dropping
    spaces = {name: str(expected(name)["white space around"]) for name in index()}
    assert "\n user  " in spaces["qwen2.5"]
    assert "\n user  " not in spaces["gemma3"]
    assert "Be brief.\n\nAnd\nnow?" in str(expected("mistral-7b-v0.3")["system + turns"])
    assert "Be brief." not in str(expected("mistral-7b-v0.3")["system + prefill"])
