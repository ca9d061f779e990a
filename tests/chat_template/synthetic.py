"""A seeded generator of chat templates that nobody has published: made-up tokens, known habits freely combined.

Each is built as published ones are: a system message taken off the front, a loop over the rest, a generation prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from conch_ollama.chat_template.jinja import JinjaTemplate

_WORDS = ("zu", "кто", "tor", "海", "qwx", "ask", "ans", "ﬁn", "Role", "βeta", "x7", "한")
_SHAPES = ("<|{}|>", "<{}>", "[{}]", "<｜{}｜>", "⟦{}⟧", "<<{}>>", "@@{}@@", "### {}", "<|{}_{{}}|>", "<start_of_{}>")


@dataclass(frozen=True)
class Synthetic:
    """`seed` makes it again; `habits` say what was combined."""

    seed: int
    source: str
    bos: str
    eos: str
    add_bos: bool
    habits: tuple[str, ...]

    def template(self) -> JinjaTemplate:
        return JinjaTemplate(self.source, bos_token=self.bos, eos_token=self.eos)


def synthetic(seed: int) -> Synthetic:
    return _Maker(seed).made()


class _Maker:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.habits: list[str] = []

    def pick(self, *habits: str) -> str:
        """One habit, the first twice as likely as the others."""
        habit = self.chance.choice((habits[0], *habits))
        self.habits.append(habit)
        return habit

    def token(self) -> str:
        words = self.chance.sample(_WORDS, k=self.chance.randint(1, 2))
        return self.chance.choice(_SHAPES).format("".join(words))

    def made(self) -> Synthetic:
        style: Callable[[], tuple[str, str, str, str, str, str]]
        style = self.chance.choice((self._chatml, self._headers, self._inst, self._labels))
        self.habits.append(style.__name__[1:])
        before_user, after_user, before_bot, after_bot, before_system, after_system = style()
        bos, eos = self.token(), self.token()
        if self.pick("no eos", "eos after answers") == "eos after answers":
            after_bot += eos
        head = self._trimmed_system()
        body = self._loop(before_user, after_user, before_bot, after_bot, before_system, after_system, bos)
        generate = self._generation_prompt(before_bot)
        opening = "{{- bos_token }}" if self.pick("bos", "no bos") == "bos" else ""
        source = self._spread([opening, head, body, generate])
        return Synthetic(self.seed, source, bos, eos, self.chance.random() < 0.6, tuple(self.habits))

    def _generation_prompt(self, before_bot: str) -> str:
        prompt = before_bot + self.chance.choice(("", "", "", "<think>\n", " "))
        said = f"{{{{- {prompt!r} }}}}"
        if self.pick("no thinking", "no thinking", "thinking may be off") == "thinking may be off":
            quiet = "<think>\n\n</think>\n\n"
            said += f"{{%- if enable_thinking is defined and not enable_thinking %}}{{{{- {quiet!r} }}}}{{%- endif %}}"
        if self.pick("prompt asked for", "prompt always") == "prompt always":
            return f"{{%- if messages[-1]['role'] != 'assistant' %}}{said}{{%- endif %}}"
        other = (
            "{%- else %}{{- eos_token }}"
            if self.pick("open end", "open end", "eos at the end") == "eos at the end"
            else ""
        )
        return f"{{%- if add_generation_prompt %}}{said}{other}{{%- endif %}}"

    # -- markers: before and after a user's text, an answer, a system text

    def _chatml(self) -> tuple[str, str, str, str, str, str]:
        start, end, line = self.token(), self.token(), self.chance.choice(("\n", " ", ": ", "\n\n"))
        close = end + self.chance.choice(("\n", "", "\n\n"))
        names = self.chance.choice(
            (("user", "assistant", "system"), ("human", "bot", "rules"), ("用户", "助手", "系统"))
        )
        user, bot, system = (start + name + line for name in names)
        return user, close, bot, close, system, close

    def _headers(self) -> tuple[str, str, str, str, str, str]:
        tokens = [self.token() for _ in range(3)]
        gap = self.chance.choice(("", "\n", " "))
        after = [self.chance.choice(("", "\n", gap)) for _ in range(3)]
        return tokens[0] + gap, after[0], tokens[1] + gap, after[1], tokens[2] + gap, after[2] or "\n"

    def _inst(self) -> tuple[str, str, str, str, str, str]:
        opening, closing, gap = self.token(), self.token(), self.chance.choice((" ", "", "\n"))
        inner = self.token()
        after = self.chance.choice(("", " ", "\n")) + self.token()
        return opening + gap, gap + closing, self.chance.choice(("", " ")), after, inner + gap, gap + inner + gap

    def _labels(self) -> tuple[str, str, str, str, str, str]:
        user, bot = self.chance.choice(
            (("USER: ", "ASSISTANT:"), ("Q>", "A>"), ("### Instruction:\n", "### Response:\n"))
        )
        gap = self.chance.choice(("\n", "\n\n", " "))
        return user, gap, bot + self.chance.choice((" ", "")), gap, "", gap

    # -- statements

    def _trimmed_system(self) -> str:
        """Takes the system message off the front, or refuses it."""
        self.system = self.pick(
            "own turn", "default", "in first question", "in last question", "ignored", "refused", "in the loop"
        )
        self.trim = self.pick(
            "as it is", "trim", "trim", "user trimmed", "answers trimmed", "system trimmed", "lines", "cut"
        )
        if self.system == "refused":
            return (
                "{%- if messages[0]['role'] == 'system' %}{{- raise_exception('no system text') }}{%- endif %}"
                "{%- set loop_messages = messages %}"
            )
        if self.system == "in the loop":
            return "{%- set loop_messages = messages %}"
        taken = self._text("messages[0]['content']", "system")
        absent = "''"
        if self.system == "default":
            absent = repr(
                self.chance.choice(("You are 海螺.", "Be \"good\" and 'kind'.\nAlways.", "{{ be }} brief", "Hi "))
            )
        return (
            "{%- if messages[0]['role'] == 'system' %}"
            f"{{%- set system_message = {taken} %}}{{%- set loop_messages = messages[1:] %}}"
            f"{{%- else %}}{{%- set system_message = {absent} %}}{{%- set loop_messages = messages %}}{{%- endif %}}"
        )

    def _text(self, expression: str, role: str) -> str:
        rules = {
            "trim": f"{expression} | trim" if self.chance.random() < 0.5 else f"{expression}.strip()",
            "lines": f"{expression}.strip('\\n')",
            f"{role} trimmed": f"{expression} | trim",
            "answers trimmed": f"{expression}.rstrip()" if role == "assistant" else expression,
            "cut": f"{expression}.split('</think>')[-1].lstrip('\\n')" if role == "assistant" else expression,
        }
        return rules.get(self.trim, expression)

    def _loop(self, user: str, user_end: str, bot: str, bot_end: str, system: str, system_end: str, bos: str) -> str:
        content = "message['content']"
        if self.pick("texts", "texts or parts") == "texts or parts":
            content = "(message['content'] if message['content'] is string else message['content'][0]['text'])"
        given, answer = self._text(content, "user"), self._text(content, "assistant")
        shown = f"{{{{- {system!r} + system_message + {system_end!r} }}}}"
        opening = ""
        ask = f"{{{{- {user!r} + ({given}) + {user_end!r} }}}}"
        if self.system in ("own turn", "default"):
            opening = f"{{%- if system_message %}}{shown}{{%- endif %}}"
            if self.system == "own turn" and self.chance.random() < 0.5:
                opening = f"{{%- if messages[0]['role'] == 'system' %}}{shown}{{%- endif %}}"
        elif self.system == "always":
            opening = shown
        elif self.system in ("in first question", "in last question"):
            test = "loop.first" if self.system == "in first question" else "loop.last"
            test += self.chance.choice(
                (" and system_message", " and system_message != ''", " and messages[0]['role'] == 'system'")
            )
            merged = f"({system!r} + system_message + {system_end!r} + ({given}))"
            if self.chance.random() < 0.4:
                merged = f"({system!r} + system_message + {system_end!r} + message['content']).strip()"
                self.habits.append("trimmed together")
            ask = f"{{%- if {test} %}}{{{{- {user!r} + {merged} + {user_end!r} }}}}{{%- else %}}{ask}{{%- endif %}}"
        if self.pick("all questions alike", "first question apart") == "first question apart":
            ask = f"{{%- if not loop.first %}}{{{{- {self.token()!r} }}}}{{%- endif %}}" + ask
        end = bot_end
        say = f"{{{{- {bot!r} + ({answer}) + {end!r} }}}}"
        if self.pick("all answers end", "last answer open") == "last answer open":
            say = f"{{{{- {bot!r} + ({answer}) }}}}{{%- if not loop.last %}}{{{{- {end!r} }}}}{{%- endif %}}"
        strict = ""
        if self.pick("any order", "strict order") == "strict order":
            strict = (
                "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                "{{- raise_exception('roles must alternate') }}{%- endif %}"
            )
            strict = "" if self.system == "in the loop" else strict
        ruled = ""
        if self.system == "in the loop":
            text = self._text("message['content']", "system")
            ruled = f"{{%- elif message['role'] == 'system' %}}{{{{- {system!r} + ({text}) + {system_end!r} }}}}"
        return (
            f"{opening}{{%- for message in loop_messages %}}{strict}{{%- if message['role'] == 'user' %}}{ask}"
            f"{{%- elif message['role'] == 'assistant' %}}{say}{ruled}{{%- endif %}}{{%- endfor %}}"
        )

    def _spread(self, parts: list[str]) -> str:
        """With line feeds between the statements, or on one line."""
        return "\n".join(part for part in parts if part) if self.chance.random() < 0.5 else "".join(parts)
