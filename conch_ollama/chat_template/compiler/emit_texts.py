"""Writes what becomes of a text before it is printed: `$text`, and `$thought` where thoughts are told anew."""

from __future__ import annotations

from collections.abc import Mapping

from conch_ollama.chat_template.compiler.conditions import Conditions
from conch_ollama.chat_template.compiler.emit_rules import where
from conch_ollama.chat_template.compiler.go_trims import write_cut, write_left, write_right, write_thought
from conch_ollama.chat_template.compiler.model import Model, SystemText, Turn
from conch_ollama.chat_template.compiler.trees import Leaf, Tree, changed, leaves
from conch_ollama.chat_template.compiler.trims import Trim
from conch_ollama.chat_template.compiler.writer import Writer
from conch_ollama.chat_template.families import go_string


def write_texts(
    out: Writer, model: Model, turns: Mapping[str, Turn], asked: Conditions, systems: Mapping[Trim, str]
) -> bool:
    """`$text`: the message's text without what goes, by role and place. Says whether anything goes. `systems`: the
    variables that hold the system text."""
    rules: dict[str, Tree[Trim]] = {role: turn.trim for role, turn in turns.items()}
    if model.systems.later is not None:
        rules["system"] = Leaf(model.systems.later[1])
    if model.results is not None:
        rules["tool"] = Leaf(model.results.trim)
    known = {trim for tree in rules.values() for _, trim in leaves(tree)}
    thoughts = {role: turn.told for role, turn in turns.items() if turn.told is not None}
    if all(trim.is_identity for trim in known) and not thoughts:
        return False
    out.code("$text := .Content")
    if thoughts:
        out.code('$thought := ""')
    for role, turn in turns.items():
        for pieces in dict.fromkeys(pieces for _, pieces in leaves(turn.together) if pieces):
            with out.block(asked.where({role: changed(turn.together, pieces.__eq__)})):
                said = [systems[one.trim] if isinstance(one, SystemText) else go_string(str(one)) for one in pieces]
                out.code(f"$text = print {' '.join(said)} .Content")
    for role, thought in thoughts.items():
        with out.block(asked.where({role: changed(turns[role].thought, lambda one: one is not None)})):
            write_thought(out, "$text", "$thought", thought)
    _write_ends(out, asked, rules, early=True)
    for cut in sorted({trim.cut for trim in known if trim.cut}, key=repr):
        with out.block(where(asked, rules, lambda trim: trim.cut, cut)):
            write_cut(out, "$text", cut)
    _write_ends(out, asked, rules, early=False)
    return True


def _write_ends(out: Writer, asked: Conditions, rules: dict[str, Tree[Trim]], *, early: bool) -> None:
    """What goes at the ends of `$text`, before something is cut off or after."""
    known = {trim for tree in rules.values() for _, trim in leaves(tree) if trim.early == early}
    for chars in sorted({trim.left for trim in known if trim.left}):
        with out.block(where(asked, rules, lambda trim: (trim.left, trim.early), (chars, early))):
            write_left(out, "$text", chars)
    for chars in sorted({trim.right for trim in known if trim.right}):
        with out.block(where(asked, rules, lambda trim: (trim.right, trim.early), (chars, early))):
            write_right(out, "$text", chars)
