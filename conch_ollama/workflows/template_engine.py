"""llama.cpp with one chat template and nothing else: conversations in, prompts out.

One worker on a file that carries only the template, within bounds of time and memory: templates are foreign code, and
this engine has no bounds of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from conch_ollama.chat_template.conversations import Conversation
from conch_ollama.chat_template.engines import cut_open, open_ended
from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.workflows.template_carrier import write_carrier

#: Seconds for loading (llama.cpp runs the template while it loads) and for one prompt; how many times that for all.
_PATIENCE, _WHOLE = 8.0, 5
#: Threads that answer.
_THREADS = 8
#: Bytes of address space.
_MEMORY = 4 << 30


class TemplateEngine:
    """`templates` by their metadata keys; `patience`: seconds for loading, and for one prompt.

    Raises RuntimeFailedError where llama.cpp can't load the template, ends because of it, or is not done in time.
    """

    def __init__(
        self, templates: Mapping[str, str], *, bos_token: str, eos_token: str, patience: float = _PATIENCE
    ) -> None:
        self._patience = patience
        self._until = time.monotonic() + _WHOLE * patience
        with tempfile.TemporaryDirectory(prefix="conch-") as folder:
            path = write_carrier(Path(folder, "chat template"), templates, bos_token=bos_token, eos_token=eos_token)
            try:
                self._worker = LlamaCppWorker(
                    path,
                    num_ctx=256,
                    threads=1,
                    gpu_layers=0,
                    load_timeout=patience,
                    continue_answers=False,
                    memory_limit=_MEMORY,
                    http_threads=_THREADS,  # one per core could need more address space than that
                )
            except RuntimeFailedError as err:
                raise RuntimeFailedError("llama.cpp does not load the template", hint=err.hint) from err

    def render(self, one: Conversation) -> str:
        """The prompt; a last answer goes through the template and is left open, as transformers does it.

        Raises BadTemplateError where the template refuses or fails.
        """
        options: dict[str, Any] = {} if one.think is None else {"enable_thinking": one.think}
        chat = [_with_reasoning(message) for message in one.messages]
        if not one.is_prefill:
            return self._apply(chat, one, **options)
        text = self._apply(open_ended(chat), one, add_generation_prompt=False, **options)
        return cut_open(text, str(chat[-1].get("content") or ""))

    def continue_answer(self, one: Conversation) -> str:
        """The prompt where llama.cpp itself continues the last answer, which the template then never sees."""
        return self._apply([_with_reasoning(message) for message in one.messages], one, continue_final_message=True)

    def _apply(self, chat: list[dict[str, Any]], one: Conversation, **options: Any) -> str:
        left = self._until - time.monotonic()
        if left <= 0:
            raise RuntimeFailedError("llama.cpp takes too long to render the conversations")
        return self._worker.apply_template(chat, tools=one.tools, timeout=min(self._patience, left), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close(patience=2.0 if kind is None else 0.0)


def engine_version() -> str:
    """Which llama.cpp it is, by the package that brings it."""
    try:
        return f"xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError:
        return "unknown"


def _with_reasoning(message: Mapping[str, Any]) -> dict[str, Any]:
    """A thought under the one name that llama.cpp takes it by."""
    thought = message.get("thinking")
    return dict(message) if thought is None else {**message, "reasoning_content": thought}
