"""Is this Modelfile right for this model? Holds its TEMPLATE, stops and SYSTEM against the model's own chat template.

Joins the rooms and judges; prints nothing, asks no server and changes no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from conch_ollama.chat_template.ollama_render import render_chat
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.record import ALTERED_WHY, class_values, corpus_version
from conch_ollama.chat_template.verdicts import Proof
from conch_ollama.errors import BadTemplateError, TemplateMismatchError
from conch_ollama.ollama.modelfile import Modelfile, load
from conch_ollama.workflows.chat_format import ChatFormat, read_chat_format
from conch_ollama.workflows.proofs import why_unproven
from conch_ollama.workflows.template import Proven, prove_format, prove_given

_QUESTION = ({"role": "user", "content": "Hi"},)
_ANSWER = "ZqAnswerqZ"


@dataclass(frozen=True)
class Finding:
    """Something about a Modelfile. `wrong`: the model is not spoken to as it was trained; else it is only to be known.

    `code`: "template", "double-bos", "missing-bos", "missing-stop", "system", "renderer", "messages".
    """

    code: str
    message: str
    wrong: bool
    advice: str = ""


@dataclass(frozen=True)
class Against:
    """A Modelfile held against a model. `best`: the TEMPLATE that conch would give it."""

    modelfile: Path
    held: Proven
    best: Proven
    findings: tuple[Finding, ...]

    @property
    def proof(self) -> Proof:
        """Of the Modelfile's TEMPLATE."""
        return self.held.proof

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.wrong for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        proof = self.proof
        return {
            "modelfile": str(self.modelfile),
            "model": self.held.name,
            "right": self.right,
            "proven": proof.proven,
            "findings": [asdict(finding) for finding in self.findings],
            "classes": class_values(proof),
            "altered_by_ollama": {"conversations": len(proof.altered), "why": ALTERED_WHY} if proof.altered else None,
            "bos": proof.bos,
            "capabilities": sorted(proof.capabilities),
            "bypassed_by_new_ollama": proof.bypassed,
            "token_ids": self.held.token_ids,
            "warnings": list(proof.warnings),
            "corpus": corpus_version(),
            "proven_template_exists": self.best.proof.proven,
        }


def against(
    modelfile: str | Path,
    source: str | Path,
    *,
    bos: str | None = None,
    eos: str | None = None,
    name: str | None = None,
    hub: Literal["huggingface", "modelscope"] = "huggingface",
    revision: str | None = None,
    version: Version = V0_9_3,
) -> Against:
    """Whether a Modelfile (or the one in a folder) is right for a model, which is given as to `template`.

    Raises what `template` raises, BadModelfileError, TemplateMismatchError where the Modelfile has no TEMPLATE, and
    BadTemplateError where Ollama would refuse the one it has.
    """
    path = Path(modelfile)
    path = path / "Modelfile" if path.is_dir() else path
    read = load(path)
    if read.template is None:
        raise TemplateMismatchError(
            f"{path} has no TEMPLATE to hold against the model: Ollama before 0.30 guesses one, a later one renders "
            "the chat template in the GGUF",
            hint=f"`conch template {source}` shows the TEMPLATE that belongs there",
        )
    chat = read_chat_format(source, hub=hub, revision=revision).with_tokens(bos, eos)
    chosen = name or chat.name
    held = prove_given(chat, read.template, chosen, version=version)
    best = prove_format(chat, chosen, version=version)
    return Against(path, held, best, tuple(_findings(read, chat, held, best)))


def _findings(modelfile: Modelfile, chat: ChatFormat, held: Proven, best: Proven) -> Iterator[Finding]:
    yield from _template(chat, held, best)
    yield from _stops(modelfile, chat, best)
    default = best.proof.system_default
    if modelfile.system is not None and default is not None and modelfile.system != default:
        yield Finding(
            "system", f"SYSTEM {modelfile.system[:60]!r} replaces the model's own default {default[:60]!r}", wrong=False
        )
    if modelfile.renderer is not None:
        text = f"RENDERER {modelfile.renderer}: Ollama >= 0.12 renders by its own code and passes over TEMPLATE"
        yield Finding("renderer", text, wrong=False)
    if modelfile.messages:
        text = f"{len(modelfile.messages)} MESSAGE lines come before every conversation; they are not part of the proof"
        yield Finding("messages", text, wrong=False)


def _template(chat: ChatFormat, held: Proven, best: Proven) -> Iterator[Finding]:
    proof = held.proof
    if proof.proven:
        return
    advice = f"`conch template` proves another one ({best.proof.strategy})" if best.proof.proven else ""
    text = f"TEMPLATE does not render what the model was trained on: {why_unproven(proof)}"
    yield Finding("template", text, wrong=True, advice=advice)
    if not chat.bos_token:
        return
    try:
        written = render_chat(proof.template, _QUESTION).startswith(chat.bos_token)
    except BadTemplateError:
        return
    if written and held.add_bos:
        text = f"TEMPLATE writes {chat.bos_token}, which the server puts in front by itself: the model would see two"
        yield Finding("double-bos", text, wrong=True, advice=f"take {chat.bos_token} out of TEMPLATE")
    elif not written and not held.add_bos and chat.jinja.render(_QUESTION).startswith(chat.bos_token):
        text = f"TEMPLATE lacks {chat.bos_token}, and the server does not put it in front either"
        yield Finding("missing-bos", text, wrong=True, advice=f"begin TEMPLATE with {chat.bos_token}")


def _stops(modelfile: Modelfile, chat: ChatFormat, best: Proven) -> Iterator[Finding]:
    """Wrong is only the lack of one that ends an answer, where the vocabulary does not end there by itself."""
    given = modelfile.parameters.get("stop", ())
    ends = _after_an_answer(chat)
    for stop in best.stops:
        if stop in (given if isinstance(given, tuple) else (given,)):
            continue
        by_itself = stop in chat.ends or stop == chat.eos_token
        wrong = not by_itself and (ends is None or stop in ends)
        text = f"PARAMETER stop lacks {stop!r}" + (", at which the vocabulary ends by itself" if by_itself else "")
        yield Finding("missing-stop", text, wrong, advice=f'add: PARAMETER stop "{stop}"' if wrong else "")


def _after_an_answer(chat: ChatFormat) -> str | None:
    """What the model was trained to write after an answer; None where that can't be seen."""
    try:
        text = chat.jinja.render([*_QUESTION, {"role": "assistant", "content": _ANSWER}], add_generation_prompt=False)
    except BadTemplateError:
        return None
    return text.rpartition(_ANSWER)[2] or None
