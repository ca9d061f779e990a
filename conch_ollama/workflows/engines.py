"""How other Jinja engines render a chat template: today llama.cpp's, which the embedded runtime and new Ollamas use.

What differs is said class by class, and other words for the template are offered that both render alike, if there are
some. A template that stops or breaks llama.cpp is a verdict, never an error of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from conch_ollama.chat_template.compare import Reference, References
from conch_ollama.chat_template.conversations import conversation
from conch_ollama.chat_template.engines import EngineProof, Render, engine_proof, references_for
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.plain_jinja.candidates import QUESTION, candidates, thinking_said
from conch_ollama.chat_template.record import class_value
from conch_ollama.chat_template.verdicts import ClassVerdict
from conch_ollama.errors import BadTemplateError, RuntimeFailedError
from conch_ollama.workflows.template_carrier import TEMPLATE_KEY
from conch_ollama.workflows.template_engine import TemplateEngine, engine_version

LLAMA_CPP = "llama.cpp"
_THREADS = 4
#: Seconds after which no further words are tried.
_ENOUGH = 12.0


@dataclass(frozen=True)
class EngineVerdict:
    """`continued`: whether llama.cpp's own way to continue an answer comes to the same prompt, None where it was not
    reached. `thinking`: what llama.cpp says of it by itself, if the template tells that apart."""

    proof: EngineProof
    continued: ClassVerdict | None = None
    thinking: bool | None = None


@dataclass(frozen=True)
class Corrected:
    """A template in other words, its proof in the engine, and in words what was changed."""

    source: str
    proof: EngineProof
    changes: tuple[str, ...]


def engine_verdicts(
    jinja: JinjaTemplate,
    *,
    templates: Mapping[str, str] | None = None,
    known: Callable[[], References] | None = None,
    correct: bool = True,
) -> Mapping[str, Any]:
    """engine -> proven, classes, version, reason, `corrected` (a Jinja that both render alike, or None) and `changes`.

    `jinja` is the model's chat template, as transformers renders it. `templates`: what the engine gets, by their keys
    in a GGUF, where there are others beside it. `known`: the prompts that another proof made of it.
    `prefill_by_server`: whether what llama.cpp itself does to continue an answer, which it hides from every template,
    comes to the same prompt. Raises BadTemplateError where transformers can't render one question.
    """
    jinja.render(conversation("", ("u", "Hi")).messages)  # before llama.cpp gets to see it: what is hostile ends here
    references = cache(lambda: references_for(jinja, known() if known else None))
    verdict = prove_in_llama_cpp(jinja, templates or {TEMPLATE_KEY: jinja.source}, references)
    proof = verdict.proof
    better = correction(jinja, verdict, references()) if correct and not _is_whole(proof) else None
    found: dict[str, Any] = {
        "proven": proof.proven,
        "classes": {kind: class_value(one) for kind, one in proof.classes.items()},
        "version": engine_version(),
        "reason": proof.reason or _differing(proof),
        "corrected": better.source if better else None,
    }
    if better:
        found["changes"] = list(better.changes)
        found["corrected_classes"] = {kind: class_value(one) for kind, one in better.proof.classes.items()}
    if verdict.continued is not None:
        found["prefill_by_server"] = class_value(verdict.continued)
    return {LLAMA_CPP: found}


def prove_in_llama_cpp(
    jinja: JinjaTemplate, templates: Mapping[str, str], references: Callable[[], Sequence[Reference]]
) -> EngineVerdict:
    """What llama.cpp makes of `templates`, held against `jinja`, whose prompts are asked for when it runs."""
    try:
        with (
            TemplateEngine(templates, bos_token=jinja.bos_token, eos_token=jinja.eos_token) as engine,
            ThreadPoolExecutor(_THREADS) as pool,
        ):

            def prove(render: Render, held: Sequence[Reference]) -> EngineProof:
                return engine_proof(jinja, render, bos_token=jinja.bos_token, references=held, spread=pool.map)

            held = references()
            proof = prove(engine.render, held)
            prefills = [one for one in held if one.conversation.kind == "prefill"]
            continued = prove(engine.continue_answer, prefills).classes["prefill"]
            said = None
            if "enable_thinking" in jinja.source and not proof.proven:
                said = thinking_said(jinja, engine.render(QUESTION))
            return EngineVerdict(proof, continued, said)
    except RuntimeFailedError as err:
        said_last = _last_error(err.hint or "")
        reason = f"{err.message}: {said_last}" if said_last else err.message
    except BadTemplateError as err:
        reason = err.message
    return EngineVerdict(EngineProof(False, {}, reason))


def correction(jinja: JinjaTemplate, verdict: EngineVerdict, references: Sequence[Reference]) -> Corrected | None:
    """Other words for the template that are proven in llama.cpp, and equal in more classes than the template is."""
    best: Corrected | None = None
    began = time.monotonic()
    for one in candidates(jinja, references, thinking=verdict.thinking):
        proof = prove_in_llama_cpp(jinja, {TEMPLATE_KEY: one.source}, lambda: references).proof
        known = best.proof if best else verdict.proof
        is_better = proof.proven and (not known.proven or proof.equal > known.equal)
        if best is not None and not is_better:
            break
        best = Corrected(one.source, proof, one.changes) if is_better else best
        if (best is not None and _is_whole(best.proof)) or time.monotonic() - began > _ENOUGH:
            break
    return best


def _is_whole(proof: EngineProof) -> bool:
    return proof.proven and all(one.holds for one in proof.classes.values())


def _differing(proof: EngineProof) -> str:
    kinds = [kind for kind, one in proof.classes.items() if not one.holds]
    return f"differs in {', '.join(kinds)}" if kinds else ""


def _last_error(log: str) -> str:
    """What llama.cpp says of the template among the last lines of its log."""
    found = [line.removeprefix("Error: ") for line in log.splitlines() if line.startswith("Error: ")]
    return found[-1] if found else ""
