"""How other Jinja engines render a chat template: today llama.cpp's, which the embedded runtime and new Ollamas use.

One worker for one template, on a file that carries nothing else. What differs is said; see `plain_jinja.py` for what
can be done about it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from conch_ollama.chat_template.conversations import Conversation
from conch_ollama.chat_template.engines import EngineProof, cut_open, engine_proof, open_ended
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import RuntimeFailedError

#: Seconds for loading (llama.cpp runs the template while it loads) and for one prompt; bytes of address space.
_LOAD, _PROMPT, _MEMORY = 20.0, 10.0, 4 << 30
_THREADS = 4


class TemplateEngine:
    """llama.cpp with one chat template. Raises RuntimeFailedError where it can't load it, or ends because of it."""

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
        from conch_ollama.workflows.template_carrier import write_carrier

        with tempfile.TemporaryDirectory(prefix="conch-") as folder:
            path = write_carrier(Path(folder, "template.gguf"), source, bos_token=bos_token, eos_token=eos_token)
            self._worker = LlamaCppWorker(
                path,
                num_ctx=256,
                threads=1,
                gpu_layers=0,
                load_timeout=_LOAD,
                continue_answers=False,
                memory_limit=_MEMORY,
            )

    def render(self, one: Conversation) -> str:
        """The prompt; a last answer goes through the template and is left open, as transformers does it."""
        options: dict[str, Any] = {} if one.think is None else {"enable_thinking": one.think}
        chat = [_with_reasoning(message) for message in one.messages]
        if one.is_prefill:
            text = self._worker.apply_template(
                open_ended(chat), tools=one.tools, add_generation_prompt=False, timeout=_PROMPT, **options
            )
            return cut_open(text, str(chat[-1].get("content") or ""))
        return self._worker.apply_template(chat, tools=one.tools, timeout=_PROMPT, **options)

    def continue_answer(self, one: Conversation) -> str:
        """The prompt where llama.cpp itself continues the last answer, which the template then never sees."""
        return self._worker.apply_template(one.messages, tools=one.tools, continue_final_message=True, timeout=_PROMPT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()


def _with_reasoning(message: Mapping[str, Any]) -> dict[str, Any]:
    """A thought under the one name that llama.cpp takes it by."""
    thought = message.get("thinking")
    return dict(message) if thought is None else {**message, "reasoning_content": thought}
