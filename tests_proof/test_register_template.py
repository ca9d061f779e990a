"""Which template a model is registered with, by its name and the server's version; and what the server then renders.

Ollama 0.9.3 is real, later ones are imitated (tests/ollama/new_ollama.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import (
    BadTemplateError,
    ConchError,
    NotFoundError,
    NotSupportedError,
    RegisterMismatchError,
    TemplateMismatchError,
)
from conch_ollama.formats.metadata import string
from conch_ollama.ollama.client import list_models, model_info
from conch_ollama.ollama.modelfile import Modelfile, ModelMessage, load, save
from conch_ollama.workflows.diagnosis import examine_model
from conch_ollama.workflows.mending import mend_model
from conch_ollama.workflows.model_facts import facts_of_file
from conch_ollama.workflows.register import register
from conch_ollama.workflows.template import prove_format
from tests.ollama.new_ollama import new_ollama
from tests.parts.ollama import OllamaServer
from tests.workflows.broken_models import QUICK, own_gguf, put, rewritten

WRONG = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant: "
DATED = "{{ strftime_now('%d %B %Y') }}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"


@cache
def right(gguf: Path, name: str) -> str | None:
    facts = facts_of_file(gguf)
    assert facts.chat is not None
    proof = prove_format(facts.chat, name).proof
    return proof.template if proof.proven else None


def folder_with(folder: Path, gguf: Path, *, name: str = "m", **changes: Any) -> Path:
    """A Modelfile with the TEMPLATE that is proven for the GGUF, beside it."""
    own = {} if "template" in changes else {"template": right(gguf, name)}
    modelfile = Modelfile(str(gguf), **{"parameters": {**QUICK, "num_ctx": 512}, **own, **changes})
    folder.mkdir(exist_ok=True)
    save(modelfile, folder / "Modelfile")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    with OllamaServer(tmp_path_factory.mktemp("choice") / "models") as running:
        yield running


@pytest.fixture(scope="module")
def ggufs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ggufs")
    found = {name: own_gguf(folder / f"{name}.gguf", name) for name in ("smollm2", "qwen2.5", "llama3", "hermes-2-pro")}
    changes = {"dated": string(DATED), "mute": None}
    found |= {
        name: rewritten(folder / f"{name}.gguf", found["smollm2"], {"tokenizer.chat_template": value})
        for name, value in changes.items()
    }
    return found


@pytest.mark.parametrize("name", ["smollm2", "llama3"])
def test_the_count_of_tokens_tells_on_an_old_server(
    server: OllamaServer, ggufs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """llama3: the server adds the BOS, and the proven TEMPLATE leaves it out."""
    made = register(folder_with(tmp_path / "out", ggufs[name]), name=f"told-{name}", host=server.host, ask=None)
    assert (made.proven, made.template, made.rendered_by) == (True, "Modelfile", "TEMPLATE")
    assert made.rendered == ("a prompt has as many tokens here as the model's own chat template makes",)
    assert not register(tmp_path / "out", name=f"told-{name}", host=server.host, ask=None).changed


def test_messages_and_system_are_part_of_the_prompt(
    server: OllamaServer, ggufs: dict[str, Path], tmp_path: Path
) -> None:
    turns = (ModelMessage("user", "a"), ModelMessage("assistant", "b"))
    folder = folder_with(tmp_path / "out", ggufs["llama3"], system="Be the conch.", messages=turns)
    made = register(folder, name="with-messages", host=server.host, ask=None)
    assert made.rendered == ("a prompt has as many tokens here as the model's own chat template makes",)


def test_no_template_in_the_modelfile_and_one_can_be_proven(
    server: OllamaServer, ggufs: dict[str, Path], tmp_path: Path
) -> None:
    folder = folder_with(tmp_path / "out", ggufs["smollm2"], template=None)
    made = register(folder, name="found", host=server.host, ask=None)
    assert (made.proven, made.template) == (True, "curated:smollm2")
    assert "<|im_end|>" in model_info("found", server.host).parameters["stop"]  # type: ignore[operator]


def test_proven_takes_the_place_of_what_the_modelfile_has(
    server: OllamaServer, ggufs: dict[str, Path], tmp_path: Path
) -> None:
    folder = folder_with(tmp_path / "out", ggufs["smollm2"], template=WRONG)
    made = register(folder, name="better", host=server.host, template="proven", ask=None)
    assert (made.proven, made.template) == (True, "curated:smollm2")
    assert model_info("better", server.host).template != WRONG


def test_another_name_that_strips_thoughts_is_proven_anew(tmp_path: Path) -> None:
    """Only the name deepseek-r1 makes 0.9.3 cut thoughts: the proof under it is another, and holds."""
    from conch_ollama.workflows.register_template import Registering, choose

    gguf = own_gguf(tmp_path / "r1.gguf", "deepseek-r1-distill")
    modelfile = load(folder_with(tmp_path / "out", gguf) / "Modelfile")
    for name in ("deepseek-r1:7b", "other"):
        chosen = choose(Registering(modelfile, facts_of_file(gguf), name, "0.9.3", {}), None)
        assert chosen.proven


def test_an_exported_template_that_the_new_name_spoils_is_replaced(ggufs: dict[str, Path]) -> None:
    from conch_ollama.chat_template.record import text_sha256
    from conch_ollama.workflows.register_template import Registering, choose

    record = {"proven": True, "template_sha256": text_sha256(WRONG)}  # as if it had been right under the old name
    task = Registering(Modelfile("x", template=WRONG), facts_of_file(ggufs["smollm2"]), "new", "0.9.3", record)
    chosen = choose(task, None)
    assert (chosen.strategy, chosen.proven) == ("curated:smollm2", True)
    assert "not right for the name new" in chosen.notes[0]
    with pytest.raises(TemplateMismatchError):
        choose(replace(task, record={}), None)  # written by hand: not replaced behind the user's back


REFUSED: list[tuple[str, str, dict[str, Any], str | None, type[ConchError], str]] = [
    ("a TEMPLATE that is not proven", "smollm2", {"template": WRONG}, None, TemplateMismatchError, "+user: What is"),
    ("a file that is not proven", "smollm2", {}, "wrong.gotmpl", TemplateMismatchError, "+user: What is"),
    ("a file that is not there", "smollm2", {}, "gone.gotmpl", NotFoundError, "gone.gotmpl"),
    ("a file that Ollama would refuse", "smollm2", {}, "bad.gotmpl", BadTemplateError, "TEMPLATE"),
    ("nothing to prove it against", "mute", {"template": WRONG}, None, TemplateMismatchError, "no chat template"),
    ("no TEMPLATE and a dated Jinja", "dated", {}, None, TemplateMismatchError, "date"),
    ("proven, of a dated Jinja", "dated", {}, "proven", TemplateMismatchError, "date"),
    ("native on an old server", "smollm2", {}, "native", NotSupportedError, "0.9.3"),
]


@pytest.mark.parametrize(
    ("which", "changes", "template", "error", "named"),
    [pytest.param(*rest, marks=pytest.mark.bad_input(f"register: {cause}"), id=cause) for cause, *rest in REFUSED],
)
def test_refused(
    server: OllamaServer,
    ggufs: dict[str, Path],
    tmp_path: Path,
    which: str,
    changes: dict[str, Any],
    template: str | None,
    error: type[ConchError],
    named: str,
) -> None:
    (tmp_path / "wrong.gotmpl").write_text(WRONG, encoding="utf-8")
    (tmp_path / "bad.gotmpl").write_text("{{ if }}", encoding="utf-8")
    if which == "mute":
        folder = tmp_path / "out"
        folder.mkdir()
        save(Modelfile(str(ggufs["mute"]), **changes), folder / "Modelfile")
    else:
        folder = folder_with(tmp_path / "out", ggufs[which], **changes)
    given = str(tmp_path / template) if template and template.endswith("gotmpl") else template
    before = {listed.name for listed in list_models(server.host)}
    with pytest.raises(error) as caught:
        register(folder, name="refused", host=server.host, template=given, ask=None)
    assert caught.value.code == error.code
    assert named in caught.value.message
    assert {listed.name for listed in list_models(server.host)} == before


def test_what_is_not_proven_may_be_allowed(server: OllamaServer, ggufs: dict[str, Path], tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "out", ggufs["smollm2"], template=WRONG)
    made = register(folder, name="allowed", host=server.host, allow_unproven=True, ask=None)
    assert (made.proven, made.template) == (False, "Modelfile")
    assert "NOT PROVEN" in made.warnings[0]
    assert "tokens where the model's own chat template makes" in made.rendered[0]
    assert model_info("allowed", server.host).template == WRONG


def test_a_new_server_obeys_a_template_that_has_all(ggufs: dict[str, Path], tmp_path: Path) -> None:
    """Qwen2.5's has tools and their round trip, as its Jinja has."""
    with new_ollama(ggufs["qwen2.5"]) as fake:
        made = register(folder_with(tmp_path / "out", ggufs["qwen2.5"]), host=fake.host, ask=None)
        assert (made.proven, made.rendered_by) == (True, "TEMPLATE")
        assert made.rendered == ("3 prompts are what the model's own chat template makes",)
        found = examine_model("out", host=fake.host)
        assert [finding.code for finding in found.findings] == ["short-context"]  # 512, to be quick


def chatml_with_tools(path: Path, gguf: Path) -> Path:
    """A Jinja that speaks of tools: a plain TEMPLATE beside it is passed over from 0.30 on."""
    from tests.chat_template.references import source

    jinja = source("chatml") + "{% if tools %}{{ tools | tojson }}{% endif %}"
    return rewritten(path, gguf, {"tokenizer.chat_template": string(jinja)})


def plain(folder: Path, gguf: Path) -> Path:
    chatml = (Path(__file__).parents[1] / "modelfiles/chatml/template.gotmpl").read_text(encoding="utf-8")
    return folder_with(folder, gguf, template=chatml, parameters={"num_ctx": 4096, "stop": ("<|im_end|>",)})


def test_a_new_server_passes_over_a_plain_template_and_both_say_the_same(
    ggufs: dict[str, Path], tmp_path: Path
) -> None:
    gguf = chatml_with_tools(tmp_path / "tools.gguf", ggufs["smollm2"])
    with new_ollama(gguf) as fake:
        made = register(plain(tmp_path / "out", gguf), host=fake.host, ask=None)
        assert (made.proven, made.rendered_by) == (True, "the chat template in the GGUF")
        assert made.rendered == ("3 prompts are what the model's own chat template makes",)
        assert any("passes over TEMPLATE" in warning for warning in made.warnings)
        found = examine_model("out", host=fake.host)
        assert found.findings == ()
        assert any("proven to say the same" in note for note in found.notes)


def otherwise(jinja: JinjaTemplate, messages: Sequence[Any]) -> str:
    """llama.cpp's engine is another one than transformers': here it loses the system text."""
    return jinja.render([one for one in messages if one["role"] != "system"])


@pytest.mark.bad_input("register: a new server renders the GGUF's Jinja otherwise than transformers")
@pytest.mark.parametrize("template", [None, "native"])
def test_another_engine_is_found_out(ggufs: dict[str, Path], tmp_path: Path, template: str | None) -> None:
    gguf = chatml_with_tools(tmp_path / "tools.gguf", ggufs["smollm2"])
    with new_ollama(gguf, native_render=otherwise) as fake:
        with pytest.raises(RegisterMismatchError) as caught:
            register(plain(tmp_path / "out", gguf), host=fake.host, template=template, ask=None)
        assert caught.value.code == "register-mismatch"
        assert "-<|im_start|>system" in caught.value.message
        assert "by its own engine" in caught.value.message
        assert fake.models == {}
        made = register(plain(tmp_path / "out", gguf), host=fake.host, template=template, allow_unproven=True, ask=None)
        assert "the server renders another prompt" in made.rendered[0]


def test_native_where_none_can_be_proven(ggufs: dict[str, Path], tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "out", ggufs["dated"])
    with new_ollama(ggufs["dated"]) as fake:
        made = register(folder, host=fake.host, ask="Hi")
        assert (made.template, made.rendered_by, made.answer) == ("native", "the chat template in the GGUF", "Hi.")
        assert "no TEMPLATE" in made.warnings[0]
        assert not register(folder, host=fake.host, ask=None).changed
        found = examine_model("out", host=fake.host)
        assert "wrong-template" not in [finding.code for finding in found.findings]


@pytest.mark.bad_input("register: without a TEMPLATE a new Ollama guesses one all the same")
def test_native_and_detection_comes_between(ggufs: dict[str, Path], tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "out", ggufs["smollm2"])
    with new_ollama(ggufs["smollm2"], detects=(WRONG, {"stop": ["x"]})) as fake:
        with pytest.raises(RegisterMismatchError) as caught:
            register(folder, host=fake.host, template="native", ask=None)
        assert "one that it guessed" in caught.value.message
        assert "OLLAMA_GO_TEMPLATE=0" in (caught.value.hint or "")
        assert fake.models == {}


def test_what_detection_adds_is_set_back(ggufs: dict[str, Path], tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "out", ggufs["smollm2"])
    with new_ollama(ggufs["smollm2"], detects=(WRONG, {"temperature": 0.1, "stop": ["x"]})) as fake:
        made = register(folder, host=fake.host, ask=None)
        assert made.changed
        assert fake.models["out:latest"]["parameters"]["temperature"] == 0.8  # Ollama's default
        assert not register(folder, host=fake.host, ask=None).changed


def test_doctor_mends_a_template_that_a_new_server_passes_over(ggufs: dict[str, Path], tmp_path: Path) -> None:
    """It is wrong as well, and nobody sees it: the GGUF's own is rendered. A proven one with tools takes its place."""
    folder = folder_with(tmp_path / "out", ggufs["qwen2.5"], template=WRONG, parameters={"num_ctx": 4096})
    with new_ollama(ggufs["qwen2.5"]) as fake:
        register(folder, host=fake.host, allow_unproven=True, ask=None)
        found = mend_model("out", host=fake.host)
        assert [finding.code for finding in found.mended] == ["wrong-template", "bypassed-template"]
        assert found.healthy
        assert "TEMPLATE curated:qwen2.5, proven" in found.changes


def test_doctor_looks_at_what_a_new_server_renders(ggufs: dict[str, Path], tmp_path: Path) -> None:
    """A plain TEMPLATE is passed over for the GGUF's own; one that has the tools too is obeyed."""
    gguf = chatml_with_tools(tmp_path / "tools.gguf", ggufs["smollm2"])
    with new_ollama(gguf, native_render=otherwise) as fake:
        register(plain(tmp_path / "out", gguf), host=fake.host, allow_unproven=True, ask=None)
        found = mend_model("out", host=fake.host)
        assert [finding.code for finding in found.mended] == ["wrong-prompt"]
        assert "-<|im_start|>system" in found.mended[0].diff
        assert found.healthy


@pytest.mark.bad_input("doctor: a new server renders the GGUF's Jinja otherwise than transformers, and none is proven")
def test_what_a_new_server_renders_and_no_template_can_mend(ggufs: dict[str, Path], tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "out", ggufs["dated"], template=None, parameters={"num_ctx": 4096})
    with new_ollama(ggufs["dated"], native_render=otherwise) as fake:
        register(folder, host=fake.host, allow_unproven=True, ask=None)
        before = dict(fake.models)
        found = mend_model("out", host=fake.host)
        assert [finding.code for finding in found.findings] == ["wrong-prompt"]
        assert "no TEMPLATE that the server would obey is proven" in found.notes
        assert fake.models == before


def test_under_the_name_that_strips_thoughts(server: OllamaServer, tmp_path: Path) -> None:
    """0.9.3 cuts thoughts for a model named deepseek-r1: the proof says so under that name and not under another."""
    gguf = own_gguf(tmp_path / "r1.gguf", "deepseek-r1-distill")
    for name in ("deepseek-r1:tiny", "r1-tiny"):
        put(server, name, gguf, right(gguf, name) or "", stop=["<｜end▁of▁sentence｜>"])
        assert examine_model(name, host=server.host).healthy
