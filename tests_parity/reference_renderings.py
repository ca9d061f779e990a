"""Renders the reference chat templates with transformers: what tests/chat_template/expected holds.

Run as `python -m tests_parity.reference_renderings` to write those files anew; a test says when they are out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo

from jinja2.exceptions import TemplateError
from transformers.utils import chat_template_utils

from tests.chat_template.references import MOMENT, Reference, index, source
from tests.chat_template.renderings import CHATS, EXPECTED, Chat, Rendering


class _Stopped(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return MOMENT


@contextmanager
def _clock_stopped() -> Iterator[None]:
    """transformers formats datetime.now() where a template asks for the date."""
    chat_template_utils.datetime = _Stopped
    try:
        yield
    finally:
        chat_template_utils.datetime = datetime


def renderings(reference: Reference) -> dict[str, Rendering]:
    with _clock_stopped():
        return {name: _rendered(reference, chat) for name, chat in CHATS.items()}


def _rendered(reference: Reference, chat: Chat) -> Rendering:
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            [list(chat.messages)],
            chat_template=source(reference.name),
            tools=list(chat.tools) if chat.tools else None,
            add_generation_prompt=chat.generation_prompt and not chat.is_prefill,
            continue_final_message=chat.is_prefill,
            **reference.tokens(),
            **chat.options,
        )
    except TemplateError as err:
        return {"refused": err.message} if type(err) is TemplateError else {"fails": True}
    except Exception:  # a template can fail in any way
        return {"fails": True}
    return str(texts[0])


def main() -> None:
    EXPECTED.mkdir(exist_ok=True)
    for name, reference in index().items():
        text = json.dumps(renderings(reference), ensure_ascii=False, indent=1)
        (EXPECTED / f"{name}.json").write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
