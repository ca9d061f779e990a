"""conch_ollama: what you trained is what you run.

The public API, loaded when it is used; `import conch_ollama` itself imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conch_ollama.version import __version__

if TYPE_CHECKING:
    from conch_ollama.errors import ConchError
    from conch_ollama.ollama.register import Registered
    from conch_ollama.workflows.against import Against, against
    from conch_ollama.workflows.chat import Chat, open_chat
    from conch_ollama.workflows.export import export
    from conch_ollama.workflows.inspect import Inspection, inspect
    from conch_ollama.workflows.register import register
    from conch_ollama.workflows.results import ExportResult
    from conch_ollama.workflows.template import TemplateResult, template
    from conch_ollama.workflows.up import up

__all__ = [
    "Against",
    "Chat",
    "ConchError",
    "ExportResult",
    "Inspection",
    "Registered",
    "TemplateResult",
    "__version__",
    "against",
    "export",
    "inspect",
    "open_chat",
    "register",
    "template",
    "up",
]

_HOME = {
    "Against": "workflows.against",
    "Chat": "workflows.chat",
    "ConchError": "errors",
    "ExportResult": "workflows.results",
    "Inspection": "workflows.inspect",
    "Registered": "ollama.register",
    "TemplateResult": "workflows.template",
    "against": "workflows.against",
    "export": "workflows.export",
    "inspect": "workflows.inspect",
    "open_chat": "workflows.chat",
    "register": "workflows.register",
    "template": "workflows.template",
    "up": "workflows.up",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
