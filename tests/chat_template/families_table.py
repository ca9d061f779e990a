"""The table of modelfiles/README.md: what each curated family comes to, by the proof itself.

`python -m tests.chat_template.families_table` writes it; a test holds the README against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from conch_ollama.chat_template.conversations import CONVERSATIONS, PLAIN
from conch_ollama.chat_template.families import families
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.verdicts import DIFFERS, EQUAL, EQUAL_JSON, NOT_EXPRESSIBLE, REFUSED, Proof
from conch_ollama.resources import modelfiles_folder
from tests.chat_template.references import REFERENCES, index, source

BEGIN, END = "<!-- table: python -m tests.chat_template.families_table -->\n", "<!-- end of table -->\n"
_WORDS = {EQUAL: "equal", EQUAL_JSON: "as JSON", NOT_EXPRESSIBLE: "no", DIFFERS: "differs", REFUSED: "refused"}
#: Families whose Jinja is another's with one text for another: (the other, its text, this one's, what it is).
_DERIVED = {
    # before the prompt opened the thought
    "deepseek-r1-distill-early": (
        "deepseek-r1-distill",
        "<｜Assistant｜><think>\\n",
        "<｜Assistant｜>",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B, first text",
    ),
    "qwen3-thinking": (
        "qwen3",
        """    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}""",
        "    {{- '<think>\\n' }}",
        "Qwen/Qwen3-4B-Thinking-2507, written from Qwen3's",
    ),
}


def reference_of(family: str) -> str:
    """The first of REFERENCES that has it."""
    return next(name for name, (found, _, _) in REFERENCES.items() if found == family)


def held_against(family: str) -> tuple[str, JinjaTemplate, bool]:
    """(the model, its Jinja, whether the server adds the BOS)"""
    if family in _DERIVED:
        other, text, instead, model = _DERIVED[family]
        _, jinja, add_bos = held_against(other)
        assert jinja.source.count(text) == 1
        return model, JinjaTemplate(jinja.source.replace(text, instead), bos_token=jinja.bos_token), add_bos
    name = reference_of(family)
    _, bos, add_bos = REFERENCES[name]
    return index()[name].model, JinjaTemplate(source(name), bos_token=bos), add_bos


@cache
def proof(family: str) -> tuple[str, Proof]:
    model, jinja, add_bos = held_against(family)
    return model, best_template(jinja, add_bos=add_bos, bos_token=jinja.bos_token)


def table() -> str:
    return BEGIN + "\n".join(_lines()) + "\n" + END


def _lines() -> Iterator[str]:
    kinds = [kind for kind in dict.fromkeys(one.kind for one in CONVERSATIONS) if kind not in PLAIN]
    names = [family.name for family in families()]
    proofs = {name: proof(name) for name in names}
    yield "| held against | " + " | ".join(names) + " |"
    yield "| --- |" + " --- |" * len(names)
    yield _row("the Jinja of", [model for model, _ in proofs.values()])
    for kind in ("the plain classes", *kinds):
        merged = [
            {found.classes[one].verdict for one in (PLAIN if kind == "the plain classes" else [kind])}
            for _, found in proofs.values()
        ]
        yield _row(kind, [" / ".join(sorted(_WORDS[verdict] for verdict in verdicts)) for verdicts in merged])
    yield _row("capabilities in Ollama", [", ".join(sorted(found.capabilities)) for _, found in proofs.values()])
    yield _row("bypassed from 0.30", ["yes" if found.bypassed else "no" for _, found in proofs.values()])


def _row(head: str, cells: list[str]) -> str:
    return f"| {head} | " + " | ".join(cells) + " |"


def readme() -> Path:
    return modelfiles_folder() / "README.md"


if __name__ == "__main__":
    before, _, rest = readme().read_text(encoding="utf-8").partition(BEGIN)
    readme().write_text(before + table() + rest.partition(END)[2], encoding="utf-8")
