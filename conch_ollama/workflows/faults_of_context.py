"""The fault of a context that is shorter than what the model was made for. Asks no server."""

from __future__ import annotations

from collections.abc import Iterator

from conch_ollama.workflows.context import DEFAULT_NUM_CTX, choose_num_ctx
from conch_ollama.workflows.patient import SHORT_CONTEXT, Finding, Notes, Patient


def context_faults(patient: Patient, notes: Notes) -> Iterator[Finding]:
    """num_ctx where it is too small."""
    wanted = wanted_context(patient)
    if wanted is None:
        notes.add("the context can't be judged: the GGUF's metadata does not say what it takes")
        return
    needed, because = wanted
    shown = patient.info.parameters.get("num_ctx")
    if shown is None:
        longest = patient.info.context_length or 0
        if needed <= DEFAULT_NUM_CTX < longest:
            notes.add(
                f"num_ctx is not set: {DEFAULT_NUM_CTX} unless OLLAMA_CONTEXT_LENGTH says otherwise; "
                f"the model takes up to {longest}"
            )
    current = shown if isinstance(shown, int) else DEFAULT_NUM_CTX
    if current < needed:
        default = " (Ollama's default)" if shown is None else ""
        yield Finding(
            SHORT_CONTEXT,
            f"num_ctx is {current}{default}, less than {because}; what is longer is cut off without a word",
            f"set it: PARAMETER num_ctx {needed}",
            "num_ctx",
        )


def wanted_context(patient: Patient) -> tuple[int, str] | None:
    """(num_ctx that this model should have, why), by the rule of an export; None where the GGUF does not say."""
    config, cutoff = patient.facts.config, patient.facts.cutoff
    if config is None:
        return None
    memory = patient.memory if patient.memory is not None else 1 << 60
    needed, lowered = choose_num_ctx(config, cutoff=cutoff, model_size=patient.facts.size, memory=memory)
    if lowered:
        return needed, f"the {needed} that fit this machine's memory"
    if cutoff and needed > DEFAULT_NUM_CTX:
        return needed, f"the {needed} tokens that the model was trained on"
    return needed, f"the {needed} that it can take"
