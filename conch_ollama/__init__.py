"""conch_ollama: what you trained is what you run.

The public API, loaded when it is used; `import conch_ollama` itself imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conch_ollama.version import __version__

if TYPE_CHECKING:
    from conch_ollama.errors import ConchError
    from conch_ollama.ollama.register import Registered
    from conch_ollama.workflows.adapter_export import export_adapter
    from conch_ollama.workflows.against import Against, against
    from conch_ollama.workflows.chat import Chat, open_chat
    from conch_ollama.workflows.claims import Verification
    from conch_ollama.workflows.diagnosis import Diagnosis, examine_model
    from conch_ollama.workflows.export import export
    from conch_ollama.workflows.inspect import Inspection, inspect
    from conch_ollama.workflows.mending import mend_model
    from conch_ollama.workflows.register import register
    from conch_ollama.workflows.results import ExportResult
    from conch_ollama.workflows.template import TemplateResult, template
    from conch_ollama.workflows.up import up
    from conch_ollama.workflows.verify import verify

__all__ = [
    "Against",
    "Chat",
    "ConchError",
    "Diagnosis",
    "ExportResult",
    "Inspection",
    "Registered",
    "TemplateResult",
    "Verification",
    "__version__",
    "against",
    "examine_model",
    "export",
    "export_adapter",
    "inspect",
    "mend_model",
    "open_chat",
    "register",
    "template",
    "up",
    "verify",
]

_HOME = {
    "Against": "workflows.against",
    "Chat": "workflows.chat",
    "ConchError": "errors",
    "Diagnosis": "workflows.diagnosis",
    "ExportResult": "workflows.results",
    "Inspection": "workflows.inspect",
    "Registered": "ollama.register",
    "TemplateResult": "workflows.template",
    "Verification": "workflows.claims",
    "against": "workflows.against",
    "examine_model": "workflows.diagnosis",
    "export": "workflows.export",
    "export_adapter": "workflows.adapter_export",
    "inspect": "workflows.inspect",
    "mend_model": "workflows.mending",
    "open_chat": "workflows.chat",
    "register": "workflows.register",
    "template": "workflows.template",
    "up": "workflows.up",
    "verify": "workflows.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
