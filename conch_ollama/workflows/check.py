"""The check after an export: a written GGUF must load, tokenise as the original does, and answer.

The file is run in a child process, because llama.cpp may abort on a bad one. Compares token ids; judges no answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from conch_ollama.errors import CheckError, RuntimeFailedError
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.tokenizers.original import CORPUS, CorpusText, encode
from conch_ollama.workflows.results import CheckResult

_PROMPT = "1, 2, 3,"
_TOKENS = 8
#: Enough for the corpus' longest text and the continuation.
_NUM_CTX = 1024


def expected_ids(inputs: Inputs) -> list[list[int]]:
    """Token ids of the corpus by the original tokenizer; for a GGUF base by llama.cpp with the base's vocabulary."""
    texts = [item.text for item in CORPUS]
    if inputs.tokenizer_folder is not None:
        return encode(inputs.tokenizer_folder, texts, add_special_tokens=False)
    with LlamaCppWorker(inputs.base.path, num_ctx=_NUM_CTX, gpu_layers=0) as base:
        return [base.tokenize(text) for text in texts]


def check_file(path: Path, expected: Sequence[Sequence[int]], note: Callable[[str], None]) -> CheckResult:
    """Load a GGUF, compare the corpus' token ids, and continue a prompt greedily.

    Raises CheckError that names the first text whose ids differ, or says what llama.cpp said when it died.
    """
    try:
        with LlamaCppWorker(path, num_ctx=_NUM_CTX, gpu_layers=0) as worker:
            gaps = [gap for item, ids in zip(CORPUS, expected, strict=True) if (gap := _compare(worker, item, ids))]
            for gap in gaps:
                note(gap)
            answer = worker.complete(_PROMPT, max_tokens=_TOKENS)
    except RuntimeFailedError as err:
        raise CheckError(f"llama.cpp does not run the written file: {err.message}", hint=err.hint) from err
    if not answer.get("tokens") and not answer.get("content") and answer.get("stop_type") != "eos":
        raise CheckError(f"{path.name} continues {_PROMPT!r} with nothing at all", hint="the weights may be damaged")
    return CheckResult(path, len(CORPUS), tuple(gaps), str(answer.get("content", "")))


def _compare(worker: LlamaCppWorker, item: CorpusText, expected: Sequence[int]) -> str | None:
    found = worker.tokenize(item.text)
    if found == list(expected):
        return None
    where = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), min(len(found), len(expected))
    )
    difference = (
        f"text {item.name!r}: token {where} is {found[where : where + 3]} in the file and "
        f"{list(expected[where : where + 3])} by the original tokenizer"
    )
    if item.known_gap:
        return f"known gap, {item.known_gap}: {difference}"
    raise CheckError(
        f"the written file tokenises otherwise than the model was trained: {difference}",
        hint="name the right pre-tokenizer with --pre, or report the model; --no-check writes the file all the same",
    )
