"""A model's chat template, rendered as transformers' apply_chat_template renders it, without transformers.

Text only: no tokens, no training masks. What a template may do is bounded: its source here, its work and its output
by `jinja_limits.py`. Source: utils/chat_template_utils.py of transformers 5.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from jinja2.exceptions import TemplateError, TemplateSyntaxError

from conch_ollama.chat_template.jinja_environment import RefusedError, environment, strftime_now
from conch_ollama.chat_template.jinja_limits import STOPPED, BoundedContext, LimitError, Purse
from conch_ollama.errors import BadTemplateError, TemplateRefusedError

Message = Mapping[str, Any]

#: Characters; the longest known chat template has 17,000.
LONGEST_SOURCE = 1 << 17
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_REASONING = ("reasoning_content", "thinking", "reasoning")


def _local_now() -> datetime:
    return datetime.now()


class JinjaTemplate:
    """A parsed template and the special tokens it may write.

    A token that is empty is undefined in the template, as for a tokenizer without it. `special_tokens` holds others by
    their transformers names (`pad_token`, `unk_token` …). Raises BadTemplateError naming the line of a syntax error.
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        special_tokens: Mapping[str, Any] | None = None,
        now: Callable[[], datetime] = _local_now,
    ) -> None:
        self.source = source
        self.bos_token = bos_token
        self.eos_token = eos_token
        tokens = {**(special_tokens or {}), "bos_token": bos_token, "eos_token": eos_token}
        self.special_tokens = {name: token for name, token in tokens.items() if token}
        if len(source) > LONGEST_SOURCE:
            raise BadTemplateError(
                f"chat template (Jinja): {len(source)} characters of source, {LONGEST_SOURCE} are allowed"
            )
        self._now = now
        self._purse: Purse | None = None
        made = environment()
        try:
            self._template = made.from_string(source)
        except TemplateSyntaxError as err:
            raise BadTemplateError(f"chat template (Jinja), line {err.lineno}: {_shortened(err.message)}") from err
        except (RecursionError, MemoryError) as err:
            raise BadTemplateError("chat template (Jinja): nested too deeply") from err
        except (SyntaxError, TypeError, ValueError, OverflowError) as err:
            raise BadTemplateError(f"chat template (Jinja) does not compile: {_shortened(err)}") from err
        self._size = made.size

    def at(self, moment: datetime) -> JinjaTemplate:
        """The same template with a clock that stands still."""
        stopped = copy.copy(self)
        stopped._now = lambda: moment
        return stopped

    def within(self, units: int) -> JinjaTemplate:
        """The same template with so many units of work (see jinja_limits.py) for all its renderings together, those of
        its copies too. Once they are spent each fails."""
        metered = copy.copy(self)
        metered._purse = Purse(units)
        return metered

    @property
    def is_spent(self) -> bool:
        """Whether the work that was given to all renderings together is spent."""
        return self._purse is not None and self._purse.is_empty

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Message] | None = None,
        documents: Sequence[Message] | None = None,
        **options: Any,
    ) -> str:
        """The prompt. `continue_final_message` leaves the last message open and wins over `add_generation_prompt`.

        `options` reach the template as variables (`enable_thinking` …). Raises TemplateRefusedError where the template
        itself refuses the conversation, BadTemplateError where it fails or where transformers would.
        """
        chat = [_with_reasoning(copy.deepcopy(dict(message))) for message in messages]
        final = self._mark_final(chat) if continue_final_message else ""
        variables = {
            "strftime_now": strftime_now(self._now),
            **self.special_tokens,
            **options,
            "messages": chat,
            "tools": copy.deepcopy(list(tools)) if tools is not None else None,
            "documents": copy.deepcopy(list(documents)) if documents is not None else None,
            "add_generation_prompt": add_generation_prompt and not continue_final_message,
        }
        text = self._run(variables)
        return _cut_at_tag(text, final) if continue_final_message else text

    def _run(self, variables: Mapping[str, Any]) -> str:
        if self.is_spent:
            raise BadTemplateError("chat template (Jinja): stopped, its renderings together do too much")
        context = cast("BoundedContext", self._template.new_context(dict(variables)))
        context.allow_for(variables["messages"], variables["tools"] or ())
        allowed = context.left[0]
        try:
            context.spend(self._size)
            return context.collected(self._template.root_render_func(context))
        except LimitError as err:
            allowed += STOPPED
            raise BadTemplateError(f"chat template (Jinja) fails: {_shortened(err.message)}") from err
        except RefusedError as err:
            raise TemplateRefusedError(f"the chat template refuses this conversation: {err.message}") from err
        except TemplateError as err:
            raise BadTemplateError(
                f"chat template (Jinja) fails: {_shortened(err.message) or type(err).__name__}"
            ) from err
        except RecursionError as err:
            raise BadTemplateError(
                "chat template (Jinja) fails: macros or loops without end inside one another"
            ) from err
        except Exception as err:  # a stranger's program: whatever it runs into, it fails
            raise BadTemplateError(f"chat template (Jinja) fails: {type(err).__name__}: {_shortened(err)}") from err
        finally:
            if self._purse is not None:
                self._purse.pay(allowed - context.left[0])

    def _mark_final(self, chat: list[dict[str, Any]]) -> str:
        """Puts a tag behind the last message's text, and returns that text."""
        content = chat[-1].get("content") if chat else None
        if content is None:
            raise BadTemplateError("there is no final message to continue")
        if "content" not in self.source:
            raise BadTemplateError("the chat template (Jinja) does not use a message's content")
        if isinstance(content, str):
            chat[-1]["content"] = content + _TAG
            return content
        for block in reversed(content):
            if "text" in block:
                text = str(block["text"])
                block["text"] = text + _TAG
                return text
        raise BadTemplateError("the final message holds no text to continue")


def _shortened(message: object) -> str:
    return str(message or "")[:500]


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """One thought under all the names that templates read it by."""
    thought = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    return message if thought is None else {"thinking": thought, **message, "reasoning_content": thought}


def _cut_at_tag(text: str, final: str) -> str:
    """The prompt up to the tag. A template that trims takes the tag's own space too; so is what precedes it."""
    tag = _TAG.strip()
    if final.strip() not in text or tag not in text:
        raise BadTemplateError("the final message does not come back from the chat template (Jinja) as it was")
    at = text.rindex(tag)
    return text[:at] if text.startswith(_TAG, at) else text[:at].rstrip()
