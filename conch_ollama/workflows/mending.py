"""Mends a model that Ollama has: creates it again from its own GGUF with what it should have had.

SYSTEM, LICENSE, MESSAGEs, adapters and all other parameters stay. The new model takes the name only when it has been
looked over and none of the faults that were to go is left; until then the old one stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from conch_ollama.chat_template.verdicts import Proof
from conch_ollama.errors import BadTemplateError, CheckError, NotSupportedError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.create import Blob, Creation, create
from conch_ollama.ollama.names import parse_name
from conch_ollama.ollama.parameters import ParameterValue
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.verify import Meant
from conch_ollama.ollama.versions import is_native
from conch_ollama.workflows.diagnosis import Diagnosis, diagnose, look_over, open_patient
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.faults_of_context import wanted_context
from conch_ollama.workflows.patient import (
    BYPASSED,
    DETECTED,
    DOUBLE_BOS,
    MISSING_STOP,
    SHORT_CONTEXT,
    STOP_IN_TURN,
    WRONG_PROMPT,
    WRONG_TEMPLATE,
    Finding,
    Patient,
)
from conch_ollama.workflows.proofs import why_unproven
from conch_ollama.workflows.rendering import rendering_check
from conch_ollama.workflows.template import prove_format

_OF_TEMPLATE = frozenset({WRONG_TEMPLATE, DOUBLE_BOS, BYPASSED, WRONG_PROMPT})


@dataclass(frozen=True)
class _Plan:
    """`template` None: leave it out, so that the server renders the GGUF's own."""

    template: str | None
    parameters: Mapping[str, ParameterValue]
    changes: tuple[str, ...]
    reasons: tuple[str, ...]


def mend_model(name: str, *, host: str | None = None, events: Events | None = None) -> Diagnosis:
    """Look a model over and mend what can be mended; `findings` of the answer are what is left.

    Raises what `examine_model` raises, NotSupportedError for a model that Ollama does not keep as a GGUF, CheckError
    where the mended model is not what it should be, OllamaError's kin: the model is then as it was.
    """
    events = events or Silent()
    with OllamaClient(host) as server:
        patient = open_patient(server, name)
        findings, notes = look_over(server, patient)
        plan = _plan(patient, findings)
        if not plan.changes:
            return Diagnosis(patient.name, server.host, patient.version, findings, (*notes, *plan.reasons))
        events.step(f"creating {patient.name} again from its own GGUF")
        after = _created(server, patient, plan)
        still, notes = look_over(server, replace(patient, info=after))
        mended = tuple(one for one in findings if one.code not in {other.code for other in still})
        notes = tuple(dict.fromkeys((*notes, *plan.reasons)))
        return Diagnosis(patient.name, server.host, patient.version, still, notes, mended, plan.changes)


def _plan(patient: Patient, findings: Sequence[Finding]) -> _Plan:
    codes = {finding.code for finding in findings}
    template, stops, changes, reasons = _template(patient, codes)
    parameters = dict(patient.info.parameters)
    changes += _mend_stops(parameters, patient, findings, stops)
    for finding in findings:
        if finding.code == DETECTED and finding.subject in patient.facts.sampling:
            parameters[finding.subject] = patient.facts.sampling[finding.subject]
            changes.append(f"{finding.subject} {parameters[finding.subject]:g}, the model's own")
    wanted = wanted_context(patient)
    if SHORT_CONTEXT in codes and wanted is not None:
        parameters["num_ctx"] = wanted[0]
        changes.append(f"num_ctx {wanted[0]}")
    return _Plan(template, parameters, tuple(changes), tuple(reasons))


def _template(patient: Patient, codes: set[str]) -> tuple[str | None, Sequence[str], list[str], list[str]]:
    """(TEMPLATE, its stops, what changes, why it can't be mended)."""
    template = None if patient.is_without_template else patient.template
    if not codes & _OF_TEMPLATE:
        return template, (), [], []
    proof = _best(patient)
    obeyed = isinstance(proof, Proof) and not (proof.bypassed and codes & {BYPASSED, WRONG_PROMPT})
    if isinstance(proof, Proof) and proof.proven and obeyed:
        return proof.template, proof.stops, [f"TEMPLATE {proof.strategy}, proven"], []
    if WRONG_PROMPT in codes:
        return template, (), [], ["no TEMPLATE that the server would obey is proven"]
    if is_native(patient.version) and patient.facts.jinja is not None:
        return None, (), ["TEMPLATE left out: the server renders the GGUF's own chat template"], []
    bos = patient.facts.bos
    if DOUBLE_BOS in codes and patient.template.startswith(bos):
        reason = [] if codes & _OF_TEMPLATE == {DOUBLE_BOS} else [_why(proof)]
        return patient.template.removeprefix(bos), (), [f"{bos} taken out of TEMPLATE"], reason
    return template, (), [], [_why(proof)]


def _best(patient: Patient) -> Proof | str:
    if patient.facts.chat is None:
        return patient.facts.fault
    try:
        return prove_format(patient.facts.chat, patient.name, version=patient.proof_version).proof
    except BadTemplateError as err:
        return err.message


def _why(proof: Proof | str) -> str:
    return f"no TEMPLATE is proven for this model: {proof if isinstance(proof, str) else why_unproven(proof)}"


def _mend_stops(
    parameters: dict[str, ParameterValue], patient: Patient, findings: Sequence[Finding], of_template: Sequence[str]
) -> list[str]:
    bad = [one.subject for one in findings if one.code in (STOP_IN_TURN, DETECTED) and one.subject in patient.stops]
    missing = [one.subject for one in findings if one.code == MISSING_STOP]
    changes = [f"stop {stop!r} taken out" for stop in bad]
    changes += [f"stop {stop!r} added" for stop in missing]
    kept = [stop for stop in patient.stops if stop not in bad]
    if changes or (of_template and kept):
        parameters["stop"] = tuple(dict.fromkeys((*kept, *missing, *(of_template if kept or missing else ()))))
    return changes


def _created(server: OllamaClient, patient: Patient, plan: _Plan) -> ModelInfo:
    info, facts = patient.info, patient.facts
    if info.digest is None:
        raise NotSupportedError(
            f"{patient.name} can't be created again: Ollama does not say which GGUF it is", hint="pull it anew"
        )
    meant = Meant(
        digest=info.digest,
        template=plan.template,
        system=info.system,
        parameters=plan.parameters,
        messages=info.messages,
        license=info.license,
        adapter_digest=info.adapter_digest,
        jinja=facts.jinja.source if facts.jinja is not None else None,
    )
    planned = {finding.code for finding in diagnose(patient)[0]}

    def check(asked: str, shown: ModelInfo) -> None:
        new = [one for one in diagnose(replace(patient, info=shown))[0] if one.code not in planned]
        if new:
            raise CheckError(f"{patient.name} would not be well afterwards: {new[0].message}", hint="it is as it was")
        if facts.jinja is not None and (plan.template is None or plan.template != patient.template):
            rendering_check(facts, version=patient.version)(server, asked, shown)

    files = [Blob("model.gguf", info.digest)]
    files += [Blob(f"projector-{i}.gguf", digest) for i, digest in enumerate(info.projector_digests)]
    adapters = (Blob("adapter.gguf", info.adapter_digest),) if info.adapter_digest else ()
    work = Creation(
        server=server,
        name=parse_name(patient.name),
        meant=meant,
        files=tuple(files),
        adapters=adapters,
        license=(info.license,) if info.license else (),
        engine=info.engine,
        check=check,
    )
    return create(work, replaces=True)
