"""What a template does with the system text: how it is trimmed, what an empty one counts as, what stands for none.

The part of `learn.py` that looks at the system message; the rest builds on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from conch_ollama.chat_template.compiler.model import NotExpressibleError, Pieces, SystemText, ToolList
from conch_ollama.chat_template.compiler.observe import Observation, observe
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, Probe, Shape, parts_of
from conch_ollama.chat_template.compiler.tool_lists import with_tool_lists
from conch_ollama.chat_template.compiler.trees import Place
from conch_ollama.chat_template.compiler.trims import IDENTITY, Trim, fitting, tagged
from conch_ollama.chat_template.conversations import ODD, THOUGHTS
from conch_ollama.errors import BadTemplateError

TEXTS = (*ODD, " a ", "\na\n", "\ta", "a\t", "\n a \n", *(f"{mark}a{mark}" for mark in ".,:;-#*\"'"))
_SPACED = (" \n a \n ", "")
_LATER_MARK = "ZqS1qZ"


class SystemLearner:
    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.absent = observe(probe, None)
        self.present = observe(probe, SYSTEM_MARK)
        if not self.absent or self.absent[0].shape.users != 1:
            raise BadTemplateError("the chat template refuses a single question")
        self.system_trim = self._system_trim()

    def pieces(self, text: str, trim: Trim | None = None) -> Pieces:
        used = self.system_trim if trim is None else trim
        found: list[str | SystemText | ToolList] = []
        for piece in with_tool_lists(text):
            if isinstance(piece, str):
                found += [SystemText(used) if part == SYSTEM_MARK else part for part in parts_of(piece)]
            else:
                found.append(piece)
        return tuple(found)

    def _system_trim(self) -> Trim:
        shown = [one for one in self.present if SYSTEM_MARK in one.text and one.shape.users <= 2]
        if not shown:
            return IDENTITY

        def holds(trim: Trim, text: str) -> bool:
            return all(self._with_system(one, text) in (None, filled(one.text, trim(text))) for one in shown)

        before, _, after = shown[0].text.partition(SYSTEM_MARK)

        def printed(text: str) -> str | None:
            return between(self._with_system(shown[0], text), before, after)

        tags = self.probe.tags
        cut = fitting((*TEXTS, *THOUGHTS, *tagged(tags)), holds, tags=tags)
        return cut or fitting(TEXTS, holds, printed, tags) or no_trim("system")

    def _with_system(self, one: Observation, text: str) -> str | None:
        return self.probe.render(one.shape.messages(system=text))

    def stands_for(self, kind: str, texts: Sequence[str]) -> tuple[str, list[tuple[Place, list[Observation]]]]:
        """What an empty or blank system text counts as, and what was seen if it has rules of its own."""
        as_present = as_absent = True
        for one in self.present:
            bare = Shape(None, one.shape.users, one.shape.prefill)
            places = [at for at, role in enumerate(one.shape.roles) if role == "user" and one.shape.users <= 2]
            chats: list[dict[int, str]] = [{}, *({at: odd} for at in places for odd in _SPACED)]
            for text, contents in ((text, contents) for text in texts for contents in chats):
                seen = self.probe.render(one.shape.messages(contents, text))
                if seen is None:
                    continue
                if as_present:
                    shown = self.probe.render(one.shape.messages(contents))
                    as_present = shown is not None and seen == filled(shown, self.system_trim(text))
                as_absent = as_absent and seen == self.probe.render(bare.messages(contents))
        if as_present or as_absent:
            return ("present" if as_present else "absent"), []
        return "apart", [(frozenset(("system", kind)), observe(self.probe, texts[0]))]

    def default_system(self) -> str | None:
        """The system text that is printed where there is no system message."""
        if not self.present:
            return None
        before, mark, after = self.present[0].text.partition(SYSTEM_MARK)
        text = self.absent[0].text
        if not mark or not text.startswith(before) or not text.endswith(after) or len(text) <= len(before + after):
            return None
        return text[len(before) : len(text) - len(after)]

    def later_system(self) -> tuple[str, Trim, str] | None:
        """A system message between an answer and the next question, if it is printed where it stands."""
        one = next((one for one in self.absent if (one.shape.users, one.shape.prefill) == (2, False)), None)
        if one is None:
            return None
        plain = one.shape.messages()

        def with_system(text: str) -> str | None:
            return self.probe.render([*plain[:2], {"role": "system", "content": text}, *plain[2:]])

        seen = with_system(_LATER_MARK)
        head = one.text.partition(one.shape.mark(1))[0] + one.shape.mark(1) + one.tails[1]
        rest = one.text[len(head) :]
        if seen is None or not seen.startswith(head) or not seen.endswith(rest) or seen.count(_LATER_MARK) != 1:
            return None
        before, _, after = seen.partition(_LATER_MARK)
        trim = fitting(TEXTS, lambda trim, text: with_system(text) in (None, before + trim(text) + after))
        tail = after[: len(after) - len(rest)]
        return None if trim is None else (before[len(head) :], trim, tail)


def said(pieces: Pieces, system: str) -> str:
    """Without tools."""
    return "".join(piece.trim(system) if isinstance(piece, SystemText) else str(piece) for piece in pieces)


def filled(text: str, system: str) -> str:
    return text.replace(SYSTEM_MARK, system)


def between(text: str | None, before: str, after: str) -> str | None:
    """What stands between the two, if they are there."""
    if text is None or not text.startswith(before) or not text.endswith(after):
        return None
    return text[len(before) : len(text) - len(after)]


def no_trim(role: str) -> Trim:
    raise NotExpressibleError(
        f"a change to the {role}'s text", "only trimming of the ends and cutting off a thought are compiled"
    )
