"""The check after an export: a written GGUF must load, tokenise as the original does, and answer.

The file is run in a child process, because llama.cpp may abort on a bad one. Compares token ids; judges no answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conch_ollama.errors import CheckError, RuntimeFailedError
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.tokenizers.corpus import CorpusText, corpus_for
from conch_ollama.tokenizers.original import encode
from conch_ollama.workflows.results import CheckResult

_PROMPT = "1, 2, 3,"
_TOKENS = 8
#: Enough for the corpus' longest text and the continuation.
_NUM_CTX = 1024


@dataclass(frozen=True)
class Expected:
    """The corpus and its token ids by the original tokenizer."""

    texts: tuple[CorpusText, ...]
    ids: tuple[Sequence[int], ...]


def expected_ids(inputs: Inputs) -> Expected:
    """The corpus by the original tokenizer; for a GGUF base by llama.cpp with the base's own vocabulary."""
    texts = corpus_for(inputs.vocabulary.gaps)
    if inputs.tokenizer_folder is not None:
        ids = encode(inputs.tokenizer_folder, [item.text for item in texts], add_special_tokens=False)
        return Expected(texts, tuple(ids))
    with LlamaCppWorker(inputs.base.path, num_ctx=_NUM_CTX, gpu_layers=0) as base:
        return Expected(texts, tuple(base.tokenize(item.text) for item in texts))


def check_file(path: Path, expected: Expected, note: Callable[[str], None]) -> CheckResult:
    """Load a GGUF, compare the corpus' token ids, and continue a prompt greedily.

    Raises CheckError that names the first text whose ids differ, or says what llama.cpp said when it died.
    """
    try:
        with LlamaCppWorker(path, num_ctx=_NUM_CTX, gpu_layers=0) as worker:
            gaps = tuple(_gaps(worker, expected))
            answer = worker.complete(_PROMPT, max_tokens=_TOKENS)
    except RuntimeFailedError as err:
        raise CheckError(f"llama.cpp does not run the written file: {err.message}", hint=err.hint) from err
    for gap in gaps:
        note(gap)
    if not answer.get("tokens") and not answer.get("content") and answer.get("stop_type") != "eos":
        raise CheckError(f"{path.name} continues {_PROMPT!r} with nothing at all", hint="the weights may be damaged")
    return CheckResult(path, len(expected.texts), gaps, str(answer.get("content", "")))


def _gaps(worker: LlamaCppWorker, expected: Expected) -> list[str]:
    gaps = []
    for item, ids in zip(expected.texts, expected.ids, strict=True):
        found = worker.tokenize(item.text)
        if found == list(ids):
            continue
        if item.known_gap is None:
            raise CheckError(
                f"the written file tokenises otherwise than the model was trained: {_difference(item, found, ids)}",
                hint="name the right pre-tokenizer with --pre, or report the model; --no-check writes it all the same",
            )
        gaps.append(f"known gap: {item.known_gap}: {_difference(item, found, ids)}")
    return gaps


def _difference(item: CorpusText, found: Sequence[int], expected: Sequence[int]) -> str:
    shared = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None)
    at = min(len(found), len(expected)) if shared is None else shared
    return (
        f"{item.name} from token {at} on is {list(found[at : at + 3])} in the file, "
        f"{list(expected[at : at + 3])} by the original tokenizer"
    )
