"""Renders hostile templates for test_hostile.py, in a process that may be killed and has little memory.

Reads a JSON line [side, source] after another; answers each with what came and the seconds of processor time it took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import render_chat
from conch_ollama.chat_template.prove import best_template
from conch_ollama.errors import ConchError

MESSAGES = [{"role": "user", "content": "Hi"}]
MEMORY = 1 << 30


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _prove(source: str) -> str:
    return best_template(JinjaTemplate(source), add_bos=False, bos_token="", families=()).template


_SIDES: dict[str, Callable[[str], str]] = {
    "Jinja": lambda source: JinjaTemplate(source).render(MESSAGES),
    "Go": lambda source: render_chat(source, MESSAGES),
    "proof": _prove,
}


def _answer(side: str, source: str) -> dict[str, Any]:
    try:
        text = _SIDES[side](source)
    except ConchError as err:
        return {"code": err.code, "message": err.message}
    return {"code": "", "message": f"rendered {text[:1000]}"}


def _main() -> None:
    _bound_memory()
    for line in sys.stdin:
        started = time.process_time()
        answer = _answer(*json.loads(line))
        sys.stdout.write(json.dumps({**answer, "seconds": time.process_time() - started}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
