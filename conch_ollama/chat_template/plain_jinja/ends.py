"""How a conversation ends to which no answer is asked for: learnt apart, because no generation prompt shows it.

As `compiler/learn.py` does it: marked conversations are rendered, and a small tree says what stands where.
"""

from __future__ import annotations

from dataclasses import dataclass

from conch_ollama.chat_template.compiler.model import Model, Pieces, SystemText
from conch_ollama.chat_template.compiler.observe import SHAPES
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, Probe, Shape, parts_of
from conch_ollama.chat_template.compiler.trees import Leaf, Place, Tree, grow
from conch_ollama.chat_template.compiler.trims import IDENTITY


@dataclass(frozen=True)
class Ends:
    """What stands behind the last text of a conversation to which no answer is asked for: no prompt shows that."""

    question: Tree[Pieces]
    answer: Tree[Pieces]

    @classmethod
    def seen(cls, probe: Probe, model: Model) -> Ends | None:
        """None where it depends on more than the place."""
        rows: dict[bool, dict[Place, Pieces]] = {False: {}, True: {}}
        for system in (None, SYSTEM_MARK):
            for shape in (Shape(system, users, prefill) for users, prefill in SHAPES):
                last = len(shape.roles) - 1
                text = probe.render(shape.messages(), generate=False)
                if text is None or shape.mark(last) not in text:
                    continue
                place = shape.place(last) | ({"system"} if system else set())
                end = text.rpartition(shape.mark(last))[2]
                if not shape.prefill:  # behind what stands behind every question
                    end = end.removeprefix(_as_seen(_value(model.user.tail, place)))
                rows[shape.prefill][place] = tuple(
                    SystemText(IDENTITY) if part == SYSTEM_MARK else part for part in parts_of(end)
                )
        question, answer = (grow(found) if found else Leaf[Pieces](()) for found in rows.values())
        return None if question is None or answer is None else cls(question, answer)


def _as_seen(pieces: Pieces) -> str:
    return "".join(SYSTEM_MARK if isinstance(one, SystemText) else str(one) for one in pieces)


def _value(tree: Tree[Pieces], place: Place) -> Pieces:
    while not isinstance(tree, Leaf):
        tree = tree.yes if tree.feature in place else tree.no
    return tree.value
