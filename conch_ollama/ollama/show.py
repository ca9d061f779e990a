"""What /api/show says about a model, as data: the answer taken apart. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conch_ollama.errors import BadModelfileError
from conch_ollama.ollama.modelfile import Modelfile, ModelMessage, parse
from conch_ollama.ollama.parameters import ParameterValue, parse_shown

_BLOB = re.compile(r"^(FROM|ADAPTER) \"*(.*sha256[-:]([0-9a-f]{64}))\"*\s*$", re.MULTILINE)


@dataclass(frozen=True)
class ModelInfo:
    """A registered model. `digest`, `adapter_digest`: sha256 (hex) of its GGUF and of its adapter's.

    `capabilities` is None where the server is too old to tell. `metadata` is the GGUF's, arrays left out. `blob` is the
    GGUF's path on the server's machine, `projector_digests` are those of further GGUFs. `engine`: RENDERER, PARSER and
    REQUIRES, by their names in lower case. `own_template`: the TEMPLATE that the model has, where the server renders
    something else and shows that as `template`; None where it can't be told.
    """

    name: str
    template: str = ""
    system: str = ""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    messages: tuple[ModelMessage, ...] = ()
    license: str = ""
    capabilities: tuple[str, ...] | None = None
    family: str = ""
    parameter_size: str = ""
    quantization: str = ""
    digest: str | None = None
    adapter_digest: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    blob: str | None = None
    projector_digests: tuple[str, ...] = ()
    engine: Mapping[str, str] = field(default_factory=dict)
    own_template: str | None = None

    @property
    def context_length(self) -> int | None:
        """The longest context the model was made for, in tokens."""
        length = self.metadata.get(f"{self.metadata.get('general.architecture')}.context_length")
        return length if isinstance(length, int) else None


def info_from_show(name: str, answer: Mapping[str, Any]) -> ModelInfo:
    """Reads the JSON of /api/show."""
    details = answer.get("details") or {}
    # The head alone: a TEMPLATE may hold a line that looks like FROM.
    modelfile = str(answer.get("modelfile", ""))
    head, _, rest = modelfile.partition("\nTEMPLATE ")
    blobs = _BLOB.findall(head)
    parsed = _parsed(f"FROM x\nTEMPLATE {rest}") if rest else None
    models = [(path, digest) for keyword, path, digest in blobs if keyword == "FROM"]
    capabilities = answer.get("capabilities")
    return ModelInfo(
        name=name,
        template=answer.get("template") or "",
        system=answer.get("system") or "",
        parameters=parse_shown(answer.get("parameters") or ""),
        messages=tuple(ModelMessage(m["role"], m.get("content") or "") for m in answer.get("messages") or ()),
        license=answer.get("license") or "",
        capabilities=None if capabilities is None else tuple(capabilities),
        family=details.get("family") or "",
        parameter_size=details.get("parameter_size") or "",
        quantization=details.get("quantization_level") or "",
        digest=models[0][1] if models else None,
        adapter_digest=next((digest for keyword, _, digest in blobs if keyword == "ADAPTER"), None),
        metadata=answer.get("model_info") or {},
        blob=models[0][0] if models else None,
        projector_digests=tuple(digest for _, digest in models[1:]),
        engine=_engine(parsed, answer.get("requires")),
        own_template=parsed.template if parsed else None,
    )


def _parsed(modelfile: str) -> Modelfile | None:
    try:
        return parse(modelfile)
    except BadModelfileError:  # `show` quotes not all that needs it
        return None


def _engine(parsed: Modelfile | None, requires: Any) -> dict[str, str]:
    found = {"renderer": parsed and parsed.renderer, "parser": parsed and parsed.parser, "requires": requires}
    return {key: str(value) for key, value in found.items() if value}
