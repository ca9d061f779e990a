"""Slots as a Jinja expression, with the spaces that a SentencePiece tokenizer puts between them.

LLaMA-Factory encodes every slot by itself. A tokenizer that puts a space in front of each text it is given thus puts
one in front of each slot, which a prompt that is encoded as a whole has to write out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from conch_ollama.chat_template.trained.table import Slot

CONTENT = "{{content}}"
SPACE = " "


@dataclass(frozen=True)
class Tokenizer:
    """What of a tokenizer shows in the text: its BOS and EOS (in force), and whether and where it adds spaces.

    `space_prefix`: it puts a space before a text, at the start and behind a special token (GGUF: add_space_prefix).
    """

    bos: str
    eos: str
    space_prefix: bool = False
    special: Collection[str] = ()


@dataclass(frozen=True)
class _Piece:
    """`before` + content + `after` if `has_content`, else `before` alone. `starts`, `ends`: with a special token."""

    before: str
    after: str
    has_content: bool
    starts: bool
    ends: bool


class Slots:
    """The slots of one role for one tokenizer; those that write nothing are left out."""

    def __init__(self, slots: Sequence[Slot], tokenizer: Tokenizer) -> None:
        self._slots, self._tokenizer = slots, tokenizer
        made = (_piece(slot, tokenizer) for slot in slots)
        self.pieces = tuple(piece for piece in made if piece.has_content or piece.before)

    @property
    def first(self) -> Slots:
        """The first slot alone."""
        return Slots(self._slots[:1], self._tokenizer)

    @property
    def adds_spaces(self) -> bool:
        return self._tokenizer.space_prefix

    def halves(self) -> tuple[str, str]:
        """What stands before and behind the content, without spaces between slots."""
        at = next(number for number, piece in enumerate(self.pieces) if piece.has_content)
        before = "".join(piece.before for piece in self.pieces[: at + 1])
        return before, self.pieces[at].after + "".join(piece.before for piece in self.pieces[at + 1 :])

    def expression(self, content: str, before: str = "") -> str:
        """The slots as one Jinja expression, behind the text `before`; "" if they write nothing."""
        texts = [before]
        items: list[str] = []
        for number, piece in enumerate(self.pieces):
            if number and self.adds_spaces and _needs_space(self.pieces[number - 1], piece):
                texts.append(SPACE)
            texts.append(piece.before)
            if piece.has_content:
                items += [literal("".join(texts)), content] if any(texts) else [content]
                texts = [piece.after]
        return " + ".join([*items, literal("".join(texts))] if any(texts) else items)


def spaced(before: Slots, after: Slots) -> bool:
    """Whether the tokenizer puts a space between the two. At the very start the server puts it by itself."""
    if not after.adds_spaces or not before.pieces or not after.pieces:
        return False
    return _needs_space(before.pieces[-1], after.pieces[0])


def literal(text: str) -> str:
    """A Jinja string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"


def _needs_space(before: _Piece, after: _Piece) -> bool:
    return not before.ends and not after.starts and not after.before.startswith(SPACE)


def _piece(slot: Slot, tokenizer: Tokenizer) -> _Piece:
    if isinstance(slot, Mapping):
        special = {"bos_token": tokenizer.bos, "eos_token": tokenizer.eos}
        text = slot["token"] if "token" in slot else special[slot["special"]]
        return _Piece(text, "", has_content=False, starts=True, ends=True)
    before, found, after = slot.partition(CONTENT)
    special_tokens = tuple(token for token in (*tokenizer.special, tokenizer.bos, tokenizer.eos) if token)
    end = after if found else before
    return _Piece(before, after, bool(found), before.startswith(special_tokens), end.endswith(special_tokens))
