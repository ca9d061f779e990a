"""What is a fault and what is not, without a server: stops, contexts, BOS; and no fault in what conch makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.families import family_by_name
from conch_ollama.chat_template.turns import turns_of
from conch_ollama.formats.metadata import ValueType as Kind
from conch_ollama.formats.metadata import array, boolean, string, u32
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.workflows.diagnosis import diagnose
from conch_ollama.workflows.faults_of_stops import detected_faults, stop_faults
from conch_ollama.workflows.model_facts import ModelFacts, facts_of_file, facts_of_server
from conch_ollama.workflows.patient import Notes, Patient
from conch_ollama.workflows.template import prove_format
from tests.workflows.broken_models import own_gguf, rewritten, trained_up_to


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


def of(facts: ModelFacts, template: str, *, version: str = "0.9.3", memory: int | None = None, **shown: Any) -> Patient:
    parameters = {"num_ctx": 4096, **shown}
    return Patient("m", ModelInfo("m", template=template, parameters=parameters), facts, version, memory)


def codes(patient: Patient) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in diagnose(patient)[0]]


def stop_codes(patient: Patient) -> list[tuple[str, str]]:
    """Of the stops alone: no proof is made."""
    turns, notes = turns_of(patient.facts.jinja, None), Notes()
    return [(one.code, one.subject) for one in (*stop_faults(patient, turns, notes), *detected_faults(patient, turns))]


@pytest.mark.parametrize("name", ["qwen3"])
def test_what_conch_makes_has_no_fault(folder: Path, name: str) -> None:
    facts = facts_of_file(own_gguf(folder / f"{name}.gguf", name))
    assert facts.chat is not None
    best = prove_format(facts.chat, "m")
    assert best.proof.proven
    assert codes(of(facts, best.proof.template, stop=best.stops)) == []


@pytest.fixture(scope="module")
def chatml(folder: Path) -> ModelFacts:
    return facts_of_file(own_gguf(folder / "own.gguf", "chatml"))


CHATML = family_by_name("chatml").text()


@pytest.mark.parametrize(
    "stop",
    ["\n", "\n\n", "", " ", "the", "user", "assistant", "1.", "。", ".", "```", "**", "- ", "海螺", "###", "---"],
)
@pytest.mark.bad_input("doctor: a stop that ordinary answers hold")
def test_stops_that_cut_answers_off(chatml: ModelFacts, stop: str) -> None:
    assert stop_codes(of(chatml, CHATML, stop=("<|im_end|>", stop))) == [("stop-in-turn", stop)]


@pytest.mark.parametrize("stop", ["<|im_start|>", "<|im_end|>", "User:", "### Instruction:", "[INST]", "</s>", "Q:"])
def test_stops_that_do_no_harm(chatml: ModelFacts, stop: str) -> None:
    assert stop_codes(of(chatml, CHATML, stop=(stop,))) == []


@pytest.mark.bad_input("doctor: a stop that is part of a thought or of a tool call")
@pytest.mark.parametrize("stop", ["<think>", "</think>", "<tool_call>", "</tool_call>"])
def test_stops_within_a_turn_of_a_thinking_model(folder: Path, stop: str) -> None:
    facts = facts_of_file(own_gguf(folder / "thinking.gguf", "qwen3"))
    found = stop_codes(of(facts, family_by_name("qwen3").text(), stop=("<|im_end|>", stop)))
    assert found == [("stop-in-turn", stop)]


@pytest.mark.bad_input("doctor: a stop that ends a part of a turn and not the turn")
@pytest.mark.parametrize("stop", ["<|end|>", "<|start|>"])
def test_stops_between_the_channels_of_gpt_oss(folder: Path, stop: str) -> None:
    facts = facts_of_file(own_gguf(folder / "channels.gguf", "gpt-oss"))
    found = stop_codes(of(facts, family_by_name("chatml").text(), stop=("<|return|>", stop)))
    assert found == [("stop-in-turn", stop)]


def test_what_ends_a_turn_may_be_a_stop_eos_or_eot(folder: Path) -> None:
    path = own_gguf(folder / "ends.gguf", "chatml")
    tokens = list(facts_of_file(path).vocabulary.tokens)  # type: ignore[union-attr]
    other, end = u32(tokens.index("</s>")), u32(tokens.index("<|im_end|>"))
    other_eos = {"tokenizer.ggml.eos_token_id": other}
    facts = facts_of_file(rewritten(folder / "a.gguf", path, other_eos))
    assert stop_codes(of(facts, CHATML)) == [("missing-stop", "<|im_end|>")]
    assert stop_codes(of(facts, CHATML, stop=("<|im_start|>",))) == [("missing-stop", "<|im_end|>")]  # too late
    assert stop_codes(of(facts, CHATML, stop=("<|im_end|>",))) == []
    for key in ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"):
        assert stop_codes(of(facts_of_file(rewritten(folder / "b.gguf", path, {**other_eos, key: end})), CHATML)) == []
    several = {**other_eos, "tokenizer.ggml.eos_token_ids": array(Kind.INT32, [end.data, other.data])}
    assert stop_codes(of(facts_of_file(rewritten(folder / "c.gguf", path, several)), CHATML)) == []


def test_a_second_bos_is_one_where_the_server_adds_it(folder: Path) -> None:
    path = own_gguf(folder / "llama3.gguf", "llama3")
    template = family_by_name("llama3").text()
    facts = facts_of_file(path)
    assert codes(of(facts, "<|begin_of_text|>" + template)) == [("double-bos", "<|begin_of_text|>")]
    silent = facts_of_file(rewritten(folder / "no.gguf", path, {"tokenizer.ggml.add_bos_token": boolean(False)}))
    assert [code for code, _ in codes(of(silent, template))] == ["wrong-template"]  # now it is missing


def test_contexts(folder: Path, chatml: ModelFacts) -> None:
    assert codes(of(chatml, CHATML, num_ctx=2048)) == [("short-context", "num_ctx")]
    trained = facts_of_file(rewritten(folder / "t.gguf", folder / "own.gguf", trained_up_to(6000)))
    assert trained.cutoff == 6000
    assert codes(of(trained, CHATML, num_ctx=6000)) == []
    without = Patient("m", ModelInfo("m", template=CHATML), trained, "0.9.3")
    finding = diagnose(without)[0][0]
    assert (finding.code, finding.advice) == ("short-context", "set it: PARAMETER num_ctx 6000")
    assert "Ollama's default" in finding.message
    assert codes(of(trained, CHATML, num_ctx=1024, memory=1 << 20)) == []  # no more fits there
    broken = rewritten(folder / "j.gguf", folder / "own.gguf", {"conch.adapter.0.training": string("{")})
    assert facts_of_file(broken).cutoff is None


def test_parameters_of_another_family(folder: Path, chatml: ModelFacts) -> None:
    stops = ("<|im_end|>", "<|system|>", "</s>", "<|user|>", "<|assistant|>")  # zephyr's, and the right one
    found = stop_codes(of(chatml, CHATML, stop=stops))
    assert found == [("detected-parameter", stop) for stop in ("<|system|>", "<|user|>", "<|assistant|>")]
    from conch_ollama.formats.metadata import f32

    own = facts_of_file(rewritten(folder / "s.gguf", folder / "own.gguf", {"general.sampling.temp": f32(0.7)}))
    assert stop_codes(of(own, CHATML, stop=("<|im_end|>",), temperature=0.1)) == [("detected-parameter", "temperature")]
    assert stop_codes(of(own, CHATML, stop=("<|im_end|>",), temperature=0.3)) == []  # somebody's choice


def test_what_a_server_shows_is_enough_for_all_but_the_jinja(chatml: ModelFacts) -> None:
    assert chatml.vocabulary is not None
    shown = dict(chatml.values)
    shown |= {key: list(v.data) if v.items else v.data for key, v in (chatml.vocabulary.carried or {}).items()}
    shown.pop("tokenizer.chat_template")
    facts = facts_of_server(shown, size=1)
    assert (facts.bos, facts.add_bos, facts.config) == (chatml.bos, chatml.add_bos, chatml.config)
    assert (facts.jinja, facts.fault) == (None, "Ollama does not show the GGUF's chat template")
    assert codes(of(facts, CHATML, stop=("\n",))) == [("stop-in-turn", "\n")]
    poor = facts_of_server({"general.architecture": "llama"}, size=1)
    findings, notes = diagnose(of(poor, CHATML))
    assert findings == ()
    assert len(notes) == 3  # TEMPLATE, stops and context: none of them can be judged
