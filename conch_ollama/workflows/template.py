"""From a model's chat template to a TEMPLATE for Ollama and its proof: what `conch template` shows.

Joins the rooms: reads the model's format, proves, asks the other engines. Prints nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.prove import best_template, prove
from conch_ollama.chat_template.record import ALTERED_WHY, class_values, corpus_version, proof_record, text_sha256
from conch_ollama.chat_template.verdicts import Proof
from conch_ollama.errors import (
    BadConfigError,
    ConchError,
    NotSupportedError,
    NotWritableError,
    RuntimeFailedError,
    TemplateMismatchError,
)
from conch_ollama.workflows.chat_format import ChatFormat, read_chat_format
from conch_ollama.workflows.proofs import why_unproven
from conch_ollama.workflows.token_ids import TokenIds

SAME_BYTES = "the same bytes, so the same ids"
COMPARED = "equal, one BOS counted once"
NO_TOKENIZER = "not compared: there is no tokenizer"
NOT_COMPARED = "not compared: the tokenizer can't be run here"


@dataclass(frozen=True)
class Proven:
    """A proof with what it was made of. `add_bos`: the server puts the BOS in front. `token_ids`: whether ids were
    compared too, in words."""

    format: ChatFormat
    proof: Proof
    name: str
    version: Version
    add_bos: bool
    token_ids: str
    warnings: tuple[str, ...] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        """Of the template and of the tokenizer, each once."""
        return tuple(dict.fromkeys((*self.proof.stops, *self.format.stops)))

    @property
    def record(self) -> dict[str, Any]:
        """For export.json."""
        return proof_record(
            self.proof,
            jinja=self.format.source,
            model=self.name,
            ollama=".".join(map(str, self.version)),
            token_ids=self.token_ids,
        )


@dataclass(frozen=True)
class TemplateResult:
    """What `conch template` found. `engines`: the same verdict for other Jinja engines (llama.cpp's)."""

    proven: Proven
    engines: Mapping[str, Any] = field(default_factory=dict)

    @property
    def proof(self) -> Proof:
        """The proof itself."""
        return self.proven.proof

    @property
    def reason(self) -> str:
        """Why it is not proven, in one line; "" where it is."""
        return "" if self.proof.proven else why_unproven(self.proof)

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        proof, chat = self.proof, self.proven.format
        return {
            "model": self.proven.name,
            "proven": proof.proven,
            "strategy": proof.strategy,
            "reason": self.reason,
            "template": proof.template or None,
            "stops": list(self.proven.stops),
            "system_default": proof.system_default,
            "bos": proof.bos,
            "bos_token": chat.bos_token,
            "eos_token": chat.eos_token,
            "capabilities": sorted(proof.capabilities),
            "bypassed_by_new_ollama": proof.bypassed,
            "classes": class_values(proof),
            "altered_by_ollama": {"conversations": len(proof.altered), "why": ALTERED_WHY} if proof.altered else None,
            "token_ids": self.proven.token_ids,
            "engines": dict(self.engines),
            "parameters": dict(proof.parameters),
            "features": dict(proof.features),
            "warnings": [*chat.warnings, *self.proven.warnings, *proof.warnings],
            "corpus": corpus_version(),
            "ollama": ".".join(map(str, self.proven.version)),
            "template_sha256": text_sha256(proof.template) if proof.template else None,
            "jinja_sha256": text_sha256(chat.source),
        }


def template(
    source: str | Path,
    *,
    bos: str | None = None,
    eos: str | None = None,
    name: str | None = None,
    hub: Literal["huggingface", "modelscope"] = "huggingface",
    revision: str | None = None,
    version: Version = V0_9_3,
    engines: bool = True,
) -> TemplateResult:
    """A TEMPLATE for a model's chat template, proven where one can be.

    source: a model (a folder, a GGUF, a hub id, a model of the local Ollama), a Jinja file, or tokenizer_config.json.
    bos, eos: special tokens, where the source does not say them. name: the model's name in Ollama, under which it is
    proven (old thoughts are cut by it). version: the Ollama whose rules count. engines: ask llama.cpp's Jinja too.

    Raises NotFoundError, BadTemplateError (not Jinja; or it refuses even one question), BadFileError's kin, HubError.
    """
    chat = read_chat_format(source, hub=hub, revision=revision).with_tokens(bos, eos)
    _ = chat.jinja  # a broken one is an error at once
    if not engines:
        return TemplateResult(prove_format(chat, name or chat.name, version=version))
    asked = _Asked(chat)
    return TemplateResult(prove_format(chat, name or chat.name, version=version), asked.answer())


def prove_format(chat: ChatFormat, name: str, *, version: Version = V0_9_3) -> Proven:
    """The best proof for a model's format, with token ids where they can differ and there is a tokenizer.

    Raises BadTemplateError where the Jinja does not parse, or refuses even one question.
    """
    return _proven(chat, name, version, lambda **options: best_template(chat.jinja, **options))


def prove_given(chat: ChatFormat, text: str, name: str, *, version: Version = V0_9_3) -> Proven:
    """The proof of one TEMPLATE for a model's format. Raises BadTemplateError too where Ollama would refuse `text`."""
    return _proven(chat, name, version, lambda **options: prove(chat.jinja, text, **options))


def _proven(chat: ChatFormat, name: str, version: Version, make: Callable[..., Proof]) -> Proven:
    add_bos = writes_bos(chat.jinja, chat.bos_token) if chat.add_bos is None else chat.add_bos
    options: dict[str, Any] = {"add_bos": add_bos, "bos_token": chat.bos_token, "family": chat.family}
    options |= {"name": name, "version": version, "references": chat.references}
    found = Proven(chat, Proof("", False, {}), name, version, add_bos, SAME_BYTES)
    with TokenIds(folder=chat.folder, gguf=chat.gguf) as ids:
        try:
            found = replace(found, proof=make(**options, tokenizer=ids if ids.is_there else None))
        except (RuntimeFailedError, BadConfigError, NotSupportedError) as err:
            note = f"token ids were not compared: {err.message}"
            return replace(found, proof=make(**options), token_ids=NOT_COMPARED, warnings=(note,))
        if ids.was_used:
            return replace(found, token_ids=COMPARED if found.proof.proven else "compared")
        cut = add_bos and bool(chat.bos_token) and writes_bos(chat.jinja, chat.bos_token)
        return replace(found, token_ids=NO_TOKENIZER if cut else SAME_BYTES)


def save_template(found: TemplateResult, path: Path, *, allow_unproven: bool = False) -> None:
    """Write the TEMPLATE, exactly. Raises TemplateMismatchError where it is not proven (and that is not allowed), or
    there is none; NotWritableError."""
    proof = found.proof
    if not proof.template or not (proof.proven or allow_unproven):
        raise TemplateMismatchError(
            f"{path} is not written: no TEMPLATE is proven for {found.proven.name}: {found.reason}",
            hint="--allow-unproven writes the nearest one all the same" if proof.template else None,
        )
    _write(path, proof.template)


def save_plain_jinja(found: TemplateResult, path: Path) -> None:
    """Write a Jinja that llama.cpp, too, renders as transformers renders the model's own: that one itself, or other
    words for it. Raises TemplateMismatchError where none is proven, NotWritableError."""
    verdict = found.engines.get("llama.cpp") or {}
    source = verdict.get("corrected") or (found.proven.format.source if verdict.get("proven") else None)
    if source is None:
        raise TemplateMismatchError(
            f"{path} is not written: no chat template is proven that llama.cpp renders as transformers renders that of "
            f"{found.proven.name}: {verdict.get('reason') or 'llama.cpp was not asked'}"
        )
    _write(path, source)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as err:
        raise NotWritableError(f"{path} can't be written: {err.strerror}", hint="choose another place") from err


def writes_bos(jinja: JinjaTemplate, bos: str) -> bool:
    """Whether the template begins a prompt with the BOS: without a tokenizer it is then taken as the server's."""
    if not bos:
        return False
    question = {"role": "user", "content": "Hi"}
    for chat in ([question], [{"role": "system", "content": "Be brief."}, question]):
        try:
            if jinja.render(chat).startswith(bos):
                return True
        except ConchError:
            continue
    return False


class _Asked:
    """Other engines, asked while the proof is made. Where that fails nobody waits for them."""

    def __init__(self, chat: ChatFormat) -> None:
        self._chat = chat
        self._found: Mapping[str, Any] = {}
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def answer(self) -> Mapping[str, Any]:
        """Their verdicts. They are a supplement: one that can't be asked is said, and the proof stands."""
        self._thread.join()
        return self._found

    def _ask(self) -> None:
        chat = self._chat
        try:
            from conch_ollama.workflows.engines import engine_verdicts

            self._found = engine_verdicts(chat.jinja, templates=chat.templates, known=lambda: chat.references)
        except (ConchError, OSError, ImportError) as err:
            self._found = {"llama.cpp": {"proven": None, "reason": f"not asked: {err}"}}
