"""Models broken on purpose in a real Ollama 0.9.3: each fault by its name, mended, and nothing found the next time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.prove import best_template
from conch_ollama.errors import BadFileError, CheckError, ConchError, NotFoundError
from conch_ollama.formats.metadata import string, u32
from conch_ollama.ollama.client import model_info
from conch_ollama.workflows import diagnosis, mending
from conch_ollama.workflows.diagnosis import examine_model
from conch_ollama.workflows.mending import mend_model
from conch_ollama.workflows.model_facts import facts_of_file
from tests.parts.long import shortened
from tests.parts.ollama import OllamaServer
from tests.workflows.broken_models import own_gguf, put, rewritten, trained_up_to

WRONG = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant: "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    """A server of these tests' own: they look at its models, and one damages a blob."""
    with OllamaServer(tmp_path_factory.mktemp("doctor") / "models") as running:
        yield running


@pytest.fixture(scope="module")
def ggufs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """By what they are for."""
    folder = tmp_path_factory.mktemp("ggufs")
    chatml = own_gguf(folder / "chatml.gguf", "smollm2", context_length=8192)
    tokens = list(facts_of_file(chatml).vocabulary.tokens)  # type: ignore[union-attr]
    other_end = {"tokenizer.ggml.eos_token_id": u32(tokens.index("</s>"))}
    return {
        "chatml": chatml,
        "llama3": own_gguf(folder / "llama3.gguf", "llama3"),
        "mistral": own_gguf(folder / "mistral.gguf", "mistral-7b-v0.3"),
        "other end": rewritten(folder / "end.gguf", chatml, other_end),
        "trained": rewritten(folder / "trained.gguf", chatml, trained_up_to(6000)),
        "mute": rewritten(folder / "mute.gguf", chatml, {"tokenizer.chat_template": None}),
        "broken jinja": rewritten(folder / "bad.gguf", chatml, {"tokenizer.chat_template": string("{% for %}")}),
    }


def right(gguf: Path, name: str) -> str:
    """The TEMPLATE that is proven for the GGUF."""
    facts = facts_of_file(gguf)
    assert facts.jinja is not None
    found = best_template(facts.jinja, add_bos=facts.add_bos, bos_token=facts.bos, family="llama", name=name)
    assert found.proven
    return found.template


#: name -> (GGUF, what is done to the right TEMPLATE, other settings, codes, what is mended)
BROKEN: dict[str, tuple[str, str, dict[str, Any], list[str], str]] = {
    "wrong": ("chatml", WRONG, {}, ["wrong-template"], "TEMPLATE curated:smollm2, proven"),
    "doubled": ("llama3", "<|begin_of_text|>{right}", {}, ["double-bos"], "TEMPLATE curated:llama3, proven"),
    "endless": ("other end", "{right}", {}, ["missing-stop"], "stop '<|im_end|>' added"),
    "cut": ("chatml", "{right}", {"stop": ["\n", "<|im_end|>"]}, ["stop-in-turn"], "stop '\\n' taken out"),
    "short": ("trained", "{right}", {"num_ctx": 2048}, ["short-context"], "num_ctx 6000"),
    "detected": (
        "mistral",
        "{right}",
        {"stop": ["<|im_start|>", "<|im_end|>"]},
        ["detected-parameter", "detected-parameter"],
        "stop '<|im_start|>' taken out",
    ),
}


@pytest.mark.parametrize("name", shortened(BROKEN, ("wrong", "endless")))
def test_each_fault_is_named_and_mended(server: OllamaServer, ggufs: Mapping[str, Path], name: str) -> None:
    which, template, settings, codes, change = BROKEN[name]
    put(server, name, ggufs[which], template.replace("{right}", right(ggufs[which], name)), **settings)
    before = model_info(name, server.host)
    found = examine_model(name, host=server.host)
    assert [finding.code for finding in found.findings] == codes
    assert all(finding.message and finding.advice for finding in found.findings)
    assert model_info(name, server.host) == before  # only looked at
    mended = mend_model(name, host=server.host)
    assert mended.healthy
    assert [finding.code for finding in mended.mended] == codes
    assert change in mended.changes
    after = model_info(name, server.host)
    assert (after.digest, after.system, after.license) == (before.digest, "You are the conch.", "MIT")
    assert {key: after.parameters[key] for key in ("num_thread", "num_predict", "seed")} == {
        "num_thread": 1,
        "num_predict": 4,
        "seed": 1,
    }
    again = mend_model(name, host=server.host)
    assert (again.findings, again.mended, again.changes) == ((), (), ())
    assert model_info(name, server.host) == after


def test_a_wrong_template_is_shown_with_its_class_and_diff(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    put(server, "shown", ggufs["chatml"], WRONG)
    finding = examine_model("shown", host=server.host).as_dict()["findings"][0]
    assert finding["subject"] == "user"
    assert "-<|im_start|>user" in finding["diff"] and "+user: What is the capital of France?" in finding["diff"]


def test_a_healthy_model(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    put(server, "healthy", ggufs["chatml"], right(ggufs["chatml"], "healthy"), stop=["<|im_end|>"])
    found = examine_model("healthy", host=server.host)
    assert (found.findings, found.notes) == ((), ())
    assert found.as_dict()["healthy"] is True


def test_all_at_once(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    put(server, "ill", ggufs["llama3"], "<|begin_of_text|>" + WRONG, stop=["\n"], num_ctx=1024)
    codes = ["double-bos", "wrong-template", "stop-in-turn", "short-context"]
    assert [finding.code for finding in examine_model("ill", host=server.host).findings] == codes
    mended = mend_model("ill", host=server.host)
    assert [finding.code for finding in mended.mended] == codes
    assert mended.healthy


def test_what_ollama_itself_makes_of_a_bare_gguf(
    server: OllamaServer, ggufs: Mapping[str, Path], tmp_path: Path
) -> None:
    """Its detection takes plain ChatML for SmolLM2's format: the default system text is lost."""
    (tmp_path / "Modelfile").write_text(f"FROM {ggufs['chatml']}\nPARAMETER num_thread 1\n", encoding="utf-8")
    server.run("create", "bare", "-f", tmp_path / "Modelfile")
    found = examine_model("bare", host=server.host)
    assert [finding.code for finding in found.findings] == ["wrong-template"]
    assert "8192" in found.notes[0]  # num_ctx is not set
    assert mend_model("bare", host=server.host).healthy


@pytest.mark.bad_input("doctor: a GGUF without a chat template, and no TEMPLATE")
def test_no_chat_template_at_all(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    put(server, "mute", ggufs["mute"], "{{ .Prompt }}")
    mended = mend_model("mute", host=server.host)
    assert [finding.code for finding in mended.findings] == ["no-chat-template"]
    assert "{{ .Prompt }}" in mended.findings[0].message
    assert mended.changes == ()
    assert model_info("mute", server.host).template == "{{ .Prompt }}"


def test_a_template_beside_a_mute_gguf_is_not_judged(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    """Its own turns are looked at all the same: it ends them with what is neither a stop nor EOS."""
    put(server, "told", ggufs["mute"], "{{ range .Messages }}{{ .Role }}: {{ .Content }} [END]\n{{ end }}assistant: ")
    found = examine_model("told", host=server.host)
    assert [(finding.code, finding.subject) for finding in found.findings] == [("missing-stop", "[END]")]
    assert found.notes == ("TEMPLATE can't be proven: the GGUF has no chat template",)


@pytest.mark.bad_input("doctor: a chat template in the GGUF that does not parse")
def test_a_broken_jinja_can_not_be_proven_against(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    put(server, "unread", ggufs["broken jinja"], right(ggufs["chatml"], "unread"), stop=["<|im_end|>"])
    found = examine_model("unread", host=server.host)
    assert found.healthy
    assert "the GGUF's chat template does not work" in found.notes[0]


def test_over_http_alone(server: OllamaServer, ggufs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's server: no blob to read, so the TEMPLATE can't be proven, and the rest is still found."""
    put(server, "far", ggufs["llama3"], "<|begin_of_text|>" + right(ggufs["llama3"], "far"), stop=["\n"], num_ctx=64)
    monkeypatch.setattr(diagnosis, "is_loopback", lambda url: False)
    monkeypatch.setenv("OLLAMA_MODELS", "/nowhere")
    found = examine_model("far", host=server.host)
    assert [finding.code for finding in found.findings] == ["double-bos", "stop-in-turn", "short-context"]
    assert found.notes == ("TEMPLATE can't be proven: Ollama does not show the GGUF's chat template",)
    mended = mend_model("far", host=server.host)
    assert mended.healthy
    monkeypatch.undo()
    assert examine_model("far", host=server.host).healthy


@pytest.mark.bad_input("doctor: a model that Ollama does not have")
def test_nobody_there(server: OllamaServer) -> None:
    with pytest.raises(NotFoundError) as caught:
        mend_model("nobody", host=server.host)
    assert caught.value.code == "not-found"
    assert "nobody" in caught.value.message


@pytest.mark.bad_input("doctor: the GGUF in Ollama's store is damaged")
def test_a_damaged_blob(server: OllamaServer, ggufs: Mapping[str, Path], tmp_path: Path) -> None:
    own = rewritten(tmp_path / "own.gguf", ggufs["chatml"], {"general.name": string("own")})
    put(server, "damaged", own, WRONG)
    digest = model_info("damaged", server.host).digest
    blob = server.models / "blobs" / f"sha256-{digest}"
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-40_000])
    with pytest.raises(BadFileError) as caught:
        examine_model("damaged", host=server.host)
    assert "damaged" in caught.value.message and str(digest) in caught.value.message
    blob.write_bytes(whole)
    assert not examine_model("damaged", host=server.host).healthy


@pytest.mark.bad_input("doctor --fix: the mended model is not what it should be")
def test_a_mending_that_fails_leaves_the_model(
    server: OllamaServer, ggufs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, "kept", ggufs["chatml"], WRONG, stop=["<|im_end|>"])
    before = model_info("kept", server.host)
    monkeypatch.setattr(mending, "prove_format", changed_proof(stops=lambda proof: ("a",)))
    with pytest.raises(CheckError) as caught:
        mend_model("kept", host=server.host)
    assert "kept" in caught.value.message and "'a'" in caught.value.message
    assert model_info("kept", server.host) == before


@pytest.mark.bad_input("doctor: the server's prompt is another one than was proven")
def test_a_server_that_renders_otherwise(
    server: OllamaServer, ggufs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, "odd", ggufs["chatml"], WRONG, stop=["<|im_end|>"])
    before = model_info("odd", server.host)
    monkeypatch.setattr(mending, "prove_format", changed_proof(template=lambda proof: proof.template + "and more"))
    monkeypatch.setattr(
        mending, "diagnose", lambda patient: ((), ()) if "more" in patient.template else DIAGNOSE(patient)
    )
    with pytest.raises(ConchError) as caught:
        mend_model("odd", host=server.host)
    assert caught.value.code == "register-mismatch"
    assert "tokens where the model's own chat template makes" in caught.value.message
    assert model_info("odd", server.host) == before


DIAGNOSE, PROVE = mending.diagnose, mending.prove_format


def changed_proof(**changes: Any) -> Any:
    """The best proof with fields that a fault of ours would give it."""

    def prove(*arguments: Any, **options: Any) -> Any:
        found = PROVE(*arguments, **options)
        return replace(found, proof=replace(found.proof, **{key: make(found.proof) for key, make in changes.items()}))

    return prove


def test_json_is_plain(server: OllamaServer, ggufs: Mapping[str, Path]) -> None:
    put(server, "told-as-json", ggufs["chatml"], WRONG)
    assert (
        json.loads(json.dumps(examine_model("told-as-json", host=server.host).as_dict()))["version"] == server.version
    )
