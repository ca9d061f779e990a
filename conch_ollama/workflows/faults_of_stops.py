"""Faults of a model's stops and of what Ollama's detection set beside them. Asks no server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from conch_ollama.chat_template.turns import Turns
from conch_ollama.ollama.detection import detected_stops
from conch_ollama.tokenizers.token_list import TokenType
from conch_ollama.tokenizers.vocabulary import Vocabulary
from conch_ollama.workflows.model_facts import ModelFacts
from conch_ollama.workflows.patient import DETECTED, MISSING_STOP, STOP_IN_TURN, Finding, Notes, Patient

#: Plain words, or one or two signs: any answer may have them, and no template marks a turn with them alone.
_WORDS = re.compile(r"[\w\s]+|[^\w<>\[\]|#@]{1,2}")


def stop_faults(patient: Patient, turns: Turns | None, notes: Notes) -> Iterator[Finding]:
    """Stops that cut answers off, and the one that is missing."""
    if turns is None:
        notes.add("how a turn ends can't be seen from the chat template")
        return
    for stop in patient.stops:
        if occurs_inside(stop, turns):
            yield Finding(
                STOP_IN_TURN,
                f"the stop {stop!r} occurs inside a normal answer and would cut it off",
                "take it out of the stops",
                stop,
            )
    useful = [stop for stop in patient.stops if not occurs_inside(stop, turns)]
    if patient.facts.vocabulary is None:
        notes.add("the stops can't be judged: the vocabulary, with the GGUF's EOS, can't be seen")
        return
    end = turn_end(patient.facts, turns)
    if end and not ends_turn(turns, [*useful, *own_ends(patient.facts)]):
        yield Finding(
            MISSING_STOP,
            f"nothing ends a turn: {end!r} follows an answer, and is neither a stop nor the GGUF's EOS or EOT",
            f"set it: PARAMETER stop {end}",
            end,
        )


def occurs_inside(stop: str, turns: Turns) -> bool:
    """Whether a stop would cut a normal answer. What ends the turn does not, nor what a turn's marker begins
    with; what ends a part of a turn (in gpt-oss) does, though it may follow an answer too."""
    if turns.goes_on_after(stop):
        return True
    if stop.strip() and turns.after.strip().startswith(stop.strip()):
        return False
    if _WORDS.fullmatch(stop):
        return True
    return any(stop in text.rstrip().removesuffix(stop or "\n") for text in turns.inside)


def own_ends(facts: ModelFacts) -> list[str]:
    """Texts of the tokens at which the GGUF itself says that generation ends."""
    vocabulary = facts.vocabulary
    if vocabulary is None:
        return []
    ids = [vocabulary.special.get(role) for role in ("eos", "eot", "eom")]
    listed = (vocabulary.carried or {}).get("tokenizer.ggml.eos_token_ids")
    ids += [int(index) for index in listed.data] if listed is not None else []
    return [vocabulary.tokens[index] for index in ids if index is not None and index < len(vocabulary.tokens)]


def ends_turn(turns: Turns, ends: Sequence[str]) -> bool:
    """Whether one of `ends` stands right behind an answer. gpt-oss ends its last channel otherwise than in history."""
    harmony = "<|return|>" in ends and turns.after.startswith("<|end|>")
    return harmony or any(end and end.strip() and turns.after.lstrip().startswith(end.strip()) for end in ends)


def turn_end(facts: ModelFacts, turns: Turns) -> str:
    """The text to stop at: the special token right behind an answer, else the first line of what follows it."""
    after = turns.after.strip()
    vocabulary = facts.vocabulary
    if vocabulary is not None:
        control = [after[:size] for size in range(1, 65) if _is_control(vocabulary, after[:size])]
        if control:
            return max(control, key=len)
    bracketed = after.partition(">")[0] + ">" if after.startswith("<") and ">" in after else ""
    return bracketed or after.partition("\n")[0]


def _is_control(vocabulary: Vocabulary, text: str) -> bool:
    index = vocabulary.token_id(text)
    return index is not None and vocabulary.types[index] in (TokenType.CONTROL, TokenType.USER_DEFINED)


def detected_faults(patient: Patient, turns: Turns | None) -> Iterator[Finding]:
    """What came with a stock template of another family."""
    for family, stop in detected_stops(patient.stops):
        if not _is_own(stop, patient.facts, turns):
            yield Finding(
                DETECTED,
                f"the stop {stop!r} is not this model's: Ollama's detection set it, with the stock template {family}",
                "take it out of the stops",
                stop,
            )
    for name, own in patient.facts.sampling.items():
        shown = patient.info.parameters.get(name)
        if name == "temperature" and shown == 0.1 and abs(float(own) - 0.1) > 1e-6:
            yield Finding(
                DETECTED,
                f"temperature 0.1 is not this model's, which says {own:g}: it comes with a stock template of Ollama's",
                f"set the model's own: PARAMETER temperature {own:g}",
                name,
            )


def _is_own(stop: str, facts: ModelFacts, turns: Turns | None) -> bool:
    if facts.vocabulary is not None and facts.vocabulary.token_id(stop) is not None:
        return True
    written = (facts.jinja.source if facts.jinja is not None else "") + (turns.after if turns is not None else "")
    return not written or stop in written
