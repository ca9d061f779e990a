"""What the emitter asks of a model before it writes: when a message counts as empty, which variables hold the system
text, and whether the first system message can be written as any later one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from conch_ollama.chat_template.compiler.conditions import Conditions
from conch_ollama.chat_template.compiler.model import Model, Pieces, Special, SystemText, joined
from conch_ollama.chat_template.compiler.trees import Leaf, Tree, changed, leaves
from conch_ollama.chat_template.compiler.trims import Trim


def where(
    asked: Conditions, rules: dict[str, Tree[Trim]], part: Callable[[Trim], object], wanted: object
) -> str | None:
    return asked.where({role: changed(tree, lambda trim: part(trim) == wanted) for role, tree in rules.items()})


def tests(special: Special, shown: str) -> Iterator[tuple[str, Pieces]]:
    """When a message counts as empty or blank, and what then stands for it."""
    if special.empty is not None and special.empty == special.blank:
        yield f"(not {shown})", special.empty
        return
    if special.empty is not None:
        yield "(not .Content)", special.empty
    if special.blank is not None:
        yield f"(not {shown})" if special.empty is not None else f"(and .Content (not {shown}))", special.blank


def system_variables(model: Model) -> dict[Trim, str]:
    """A variable for each way in which the system text is trimmed; the first is `$system`."""
    trees = [
        model.opening,
        model.user.lead,
        model.user.together,
        model.user.tail,
        changed(model.prompt, lambda prompt: prompt.default),
    ]
    specials = [model.user.special]
    if model.assistant is not None:
        trees += [model.assistant.lead, model.assistant.tail]
        specials.append(model.assistant.special)
    pieces = [piece for tree in trees for _, found in leaves(tree) for piece in found]
    for tree in specials:
        pieces += [piece for _, special in leaves(tree) for piece in (*(special.empty or ()), *(special.blank or ()))]
    used = {piece.trim for piece in pieces if isinstance(piece, SystemText)}
    others = sorted(used - {model.systems.trim}, key=repr)
    names = {model.systems.trim: "$system"} if used else {}
    return {**names, **{trim: f"$system{number}" for number, trim in enumerate(others, start=2)}}


def in_the_loop(model: Model) -> tuple[Pieces, Pieces] | None:
    """(opening without a system text, opening with one but for it), where the first system message is printed as any
    later one: then it needs no rule of its own."""
    later = model.systems.later
    if later is None or model.systems.empty != "present" or model.systems.blank != "present":
        return None
    turn = joined((later[0], SystemText(later[1]), later[2]))
    if isinstance(model.opening, Leaf) or model.opening.feature != "system":
        return None
    absent, present = model.opening.no, model.opening.yes
    if not isinstance(absent, Leaf) or not isinstance(present, Leaf) or not present.value:
        return None
    first, start = present.value[0], turn[0]
    if not isinstance(first, str) or not isinstance(start, str) or not first.endswith(start):
        return None
    return (absent.value, joined((first.removesuffix(start),))) if present.value[1:] == turn[1:] else None
