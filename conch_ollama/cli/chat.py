"""`conch chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import host_option

if TYPE_CHECKING:
    from conch_ollama.workflows.chat import Chat


@click.command(
    "chat",
    help="""Chat with MODEL: a folder that conch wrote, a GGUF file (both without Ollama), or a model's name in Ollama.

    /clear starts anew, /bye or Ctrl-D leaves. With standard input from a file or pipe every line is a message.
    """,
)
@click.argument("model")
@host_option
@click.option("--system", metavar="TEXT", help="A system text.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--num-ctx", type=click.IntRange(min=1), help="Context in tokens.")
@click.option("--ask", "questions", multiple=True, metavar="TEXT", help="Ask this and leave; repeatable.")
def command(
    model: str,
    host: str | None,
    system: str | None,
    temperature: float | None,
    num_ctx: int | None,
    questions: tuple[str, ...],
) -> None:
    from conch_ollama.workflows.chat import open_chat

    with open_chat(model, host=host, system=system, temperature=temperature, num_ctx=num_ctx) as chat:
        converse(chat, questions)


def converse(chat: Chat, questions: Sequence[str]) -> None:
    """Ask the given questions, or read them from the terminal until its end."""
    if questions:
        for question in questions:
            output.line(f"> {question}")
            _answer(chat, question)
        return
    if sys.stdin.isatty():
        output.note(f"{chat.description}. /clear starts anew, /bye leaves.")
    while (text := _read()) is not None:
        if text == "/clear":
            chat.clear()
        elif text in ("/bye", "/exit", "/quit"):
            return
        elif text:
            _answer(chat, text)


def _read() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None


def _answer(chat: Chat, question: str) -> None:
    try:
        for text in chat.say(question):
            output.piece(text)
    except KeyboardInterrupt:
        output.piece(" …")
    output.line()
