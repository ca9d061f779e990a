"""Makes the proof of an exported TEMPLATE again and holds it against what was recorded of it. Asks no server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.record import corpus_version, gguf_record, text_sha256
from conch_ollama.errors import BadTemplateError, ConchError
from conch_ollama.ollama.modelfile import Modelfile
from conch_ollama.ollama.versions import version_numbers
from conch_ollama.workflows.claims import Claims
from conch_ollama.workflows.model_facts import ModelFacts, facts_of_file
from conch_ollama.workflows.proofs import first_difference, why_unproven
from conch_ollama.workflows.template import Proven, prove_format, prove_given
from conch_ollama.workflows.verify_gguf import plain_metadata

PROOF = "TEMPLATE renders what the GGUF's own chat template renders"
_KEYS = "conch.template."
_ESCAPED = re.compile(r'\{\{ "((?:\\u[0-9a-f]{4}|\\U[0-9a-f]{8})+)" \}\}')


def check_record(gguf: Path, record: Mapping[str, Any], claims: Claims) -> None:
    """What the GGUF holds of the proof, against what export.json holds of it, and of the Jinja's hash."""
    metadata = plain_metadata(gguf)
    own = {key.removeprefix(_KEYS): value for key, value in metadata.items() if key.startswith(_KEYS)}
    claims.equal("the proof recorded in the GGUF is that of export.json", gguf_record(record), own)


def check_jinja(gguf: Path, recorded: str | None, claims: Claims) -> ModelFacts:
    """The GGUF's own chat template against its recorded hash; what the GGUF says, for the proof."""
    facts = facts_of_file(gguf)
    if recorded is not None:
        found = text_sha256(facts.chat.source) if facts.chat is not None else None
        claims.equal("the GGUF's own chat template is the one that was proven against", recorded, found)
    return facts


#: (TEMPLATE, Jinja) -> the proof: the Modelfiles of one export mostly have the same.
Proofs = dict[tuple[str, str], Proven]


def check_modelfile(
    modelfile: Modelfile, report: Mapping[str, Any], gguf: Path, facts: ModelFacts, claims: Claims, proofs: Proofs
) -> None:
    """A Modelfile's TEMPLATE, stops and num_ctx against export.json, and its proof made again."""
    record = report.get("template") or {}
    stops = modelfile.parameters.get("stop", ())
    if "stops" in record:
        claims.equal("the stops are those of export.json", list(record["stops"]), list(_texts(stops)))
    if report.get("num_ctx") is not None:
        claims.equal("num_ctx is that of export.json", report["num_ctx"], modelfile.parameters.get("num_ctx"))
    if modelfile.template is None:
        if record.get("proven") or record.get("used"):
            claims.fails("there is a TEMPLATE", "export.json records one, and the Modelfile has none")
        else:
            claims.holds("there is no TEMPLATE, as export.json says")
        return
    if record.get("template_sha256"):
        found = {text_sha256(modelfile.template), text_sha256(_unescaped(modelfile.template))}
        said = record["template_sha256"]
        if said in found:
            claims.holds("TEMPLATE is the one whose proof is recorded")
        else:
            claims.fails("TEMPLATE is the one whose proof is recorded", f"its sha256 is another than {said}")
    check_proof(modelfile.template, record, gguf, facts, claims, proofs)


def check_proof(
    template: str, record: Mapping[str, Any], gguf: Path, facts: ModelFacts, claims: Claims, proofs: Proofs
) -> None:
    """The proof made again, under the recorded name and version, with this version's conversations."""
    if facts.chat is None:
        detail = facts.fault
        claims.fails(PROOF, detail) if record.get("proven") else claims.unknown(PROOF, detail)
        return
    key = (template, facts.chat.source)
    if key not in proofs:
        name, version = _settings(record)
        try:
            proofs[key] = prove_given(replace(facts.chat, gguf=gguf), template, name, version=version)
        except BadTemplateError as err:
            claims.fails(PROOF, err.message)
            return
    found = proofs[key]
    proof = found.proof
    if not proof.proven:
        kind, verdict = first_difference(proof)
        difference = f"{kind}: {verdict.diff}" if verdict is not None and verdict.diff else why_unproven(proof)
        if record.get("proven"):
            claims.fails(PROOF, difference)
        else:
            claims.unknown(PROOF, f"it does not, and export.json does not say that it does: {difference}")
    else:
        claims.holds(PROOF, f"proven again on the conversations {corpus_version()}")
        if record and not record.get("proven"):
            claims.holds("it is better than its record: that says not proven")
    _check_classes(found, record, claims)


def _check_classes(found: Proven, record: Mapping[str, Any], claims: Claims) -> None:
    said = record.get("classes")
    if not said:
        return
    claim = "each class of conversations has the verdict that was recorded"
    if record.get("corpus") != corpus_version():
        claims.unknown(claim, f"it was made on the conversations {record.get('corpus')}, this conch has others")
        return
    now = {kind: one.verdict for kind, one in found.proof.classes.items()}
    differing = sorted(kind for kind in {*said, *now} if said.get(kind) != now.get(kind))
    if differing:
        kind = differing[0]
        claims.fails(claim, f"{kind}: it says {said.get(kind)!r}, and it is {now.get(kind)!r}")
    else:
        claims.holds(claim)


def check_alone(gguf: Path, claims: Claims) -> None:
    """A GGUF without a Modelfile: the recorded proof is made again if conch still makes that TEMPLATE."""
    metadata = plain_metadata(gguf)
    record = {key.removeprefix(_KEYS): value for key, value in metadata.items() if key.startswith(_KEYS)}
    if not record:
        claims.unknown(PROOF, "the GGUF records no proof, and there is no Modelfile beside it")
        return
    facts = check_jinja(gguf, record.get("jinja_sha256"), claims)
    if record.get("verdict") != "proven" or facts.chat is None:
        claims.unknown(PROOF, f"the GGUF says: {record.get('verdict')} ({record.get('reason', 'no reason')})")
        return
    name, version = _settings(record)
    try:
        best = prove_format(replace(facts.chat, gguf=gguf), name, version=version)
    except ConchError as err:
        claims.fails(PROOF, err.message)
        return
    if text_sha256(best.proof.template) == record.get("template_sha256"):
        claims.equal(PROOF, "proven", "proven" if best.proof.proven else "not proven")
    else:
        claims.unknown(PROOF, "only the TEMPLATE's hash is in the GGUF: the Modelfile is needed")


def _settings(record: Mapping[str, Any]) -> tuple[str, Version]:
    """(name, Ollama's version) that the proof was made with."""
    recorded = record.get("ollama")
    return str(record.get("model") or ""), version_numbers(recorded) if isinstance(recorded, str) else V0_9_3


def _texts(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _unescaped(template: str) -> str:
    """The TEMPLATE before a Modelfile made it write its unprintable runes as Go's escapes."""
    return _ESCAPED.sub(lambda found: found[1].encode("ascii").decode("unicode_escape"), template)
