"""What /api/show says about a model, as data: the answer taken apart. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conch_ollama.ollama.modelfile import ModelMessage
from conch_ollama.ollama.parameters import ParameterValue, parse_shown

_BLOB = re.compile(r"^(FROM|ADAPTER) .*sha256[-:]([0-9a-f]{64})\"*\s*$", re.MULTILINE)


@dataclass(frozen=True)
class ModelInfo:
    """A registered model. `digest`, `adapter_digest`: sha256 (hex) of its GGUF and of its adapter's.

    `capabilities` is None where the server is too old to tell. `metadata` is the GGUF's, arrays left out.
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

    @property
    def context_length(self) -> int | None:
        """The longest context the model was made for, in tokens."""
        length = self.metadata.get(f"{self.metadata.get('general.architecture')}.context_length")
        return length if isinstance(length, int) else None


def info_from_show(name: str, answer: Mapping[str, Any]) -> ModelInfo:
    """Reads the JSON of /api/show."""
    details = answer.get("details") or {}
    # The head alone: a TEMPLATE may hold a line that looks like FROM.
    head = str(answer.get("modelfile", "")).partition("\nTEMPLATE ")[0]
    blobs = {match[1]: match[2] for match in _BLOB.finditer(head)}
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
        digest=blobs.get("FROM"),
        adapter_digest=blobs.get("ADAPTER"),
        metadata=answer.get("model_info") or {},
    )
