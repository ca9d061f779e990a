"""The prompt that LLaMA-Factory trained a model on, by the name of its `template:`, as a plain Jinja.

It renders what LLaMA-Factory encodes in training, up to where the answer begins; tools where its format tells of them
as JSON (see `tools.py`). Not pictures or sound; not the tokens, which LLaMA-Factory makes slot by slot. Source:
data/template.py of LLaMA-Factory 0.9.5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.trained.mismatch import Difference, mismatch
from conch_ollama.chat_template.trained.slots import Slots, Tokenizer
from conch_ollama.chat_template.trained.source import Parts, Thoughts, jinja_source
from conch_ollama.chat_template.trained.table import Format, format_by_name, names

_SUPERVISED = "sft"
_ROLES = ("prefix", "system", "user", "assistant", "observation", "function")


def trained_jinja(
    name: str,
    *,
    bos_token: str,
    eos_token: str,
    default_system: str | None = None,
    enable_thinking: bool | None = None,
    preserve_thinking: bool = False,
    mask_history: bool = False,
    stage: str = _SUPERVISED,
    space_prefix: bool = False,
    special_tokens: Collection[str] = (),
) -> JinjaTemplate:
    """The format `name` as a chat template; the options are LLaMA-Factory's of the same names.

    `default_system` None: the format's own; "": none. Of a reasoning format, `enable_thinking`:

    - True, or None for what the configuration does not say: an answer without a thought was trained with an empty one
      in front, which the model writes itself; a request with `enable_thinking=False` gets it in its prompt.
    - False: thoughts were taken out, and every prompt ends with the empty one.

    Old answers are as they were trained: with their thought or the empty one, bare with `mask_history` or in a `stage`
    other than "sft" (which `preserve_thinking` changes). `space_prefix`: the tokenizer puts a space before a text
    (SentencePiece, as Llama 2's), so slots that don't begin with one of `special_tokens` were trained behind a space.
    Raises NotFoundError, with near names, for an unknown `name`.
    """
    form = format_by_name(name)
    thoughts = _thoughts(True if enable_thinking is None else enable_thinking, preserve_thinking, mask_history, stage)
    tokenizer = Tokenizer(bos_token, form.eos(eos_token), space_prefix, special_tokens)
    return _jinja(form, thoughts, tokenizer, default_system)


def from_training(
    training: Mapping[str, Any],
    *,
    bos_token: str,
    eos_token: str,
    space_prefix: bool = False,
    special_tokens: Collection[str] = (),
) -> JinjaTemplate | None:
    """As `trained_jinja`, by LLaMA-Factory's own options (`training_args.yaml`); None where they name no template, or
    for stage "pt", which trains on bare texts.

    `enable_thinking: null` is another thing there than its absence: answers keep their thoughts, the others got the
    empty one in their prompt; so does the prompt here.
    """
    name = training.get("template")
    if not isinstance(name, str) or training.get("stage") == "pt":
        return None
    form = format_by_name(name)
    default, asked = training.get("default_system"), training.get("enable_thinking", True)
    thoughts = _thoughts(
        None if asked is None else bool(asked),
        training.get("preserve_thinking") is True,
        training.get("mask_history") is True,
        str(training.get("stage", _SUPERVISED)),
    )
    tokenizer = Tokenizer(bos_token, form.eos(eos_token), space_prefix, special_tokens)
    return _jinja(form, thoughts, tokenizer, default if isinstance(default, str) else None)


def trained_stops(name: str, *, eos_token: str) -> tuple[str, ...]:
    """What ends an answer of the format, the EOS in force first; none of them stands inside an answer."""
    return format_by_name(name).stops(eos_token)


def _thoughts(asked: bool | None, preserve: bool, mask_history: bool, stage: str) -> Thoughts:
    """As ReasoningTemplate's encode_multiturn, which "sft" uses, and encode_oneturn, which all others use."""
    kept = asked is not False
    if stage != _SUPERVISED:
        return Thoughts(bool(asked), kept, preserve, False)
    discards = mask_history and not preserve
    return Thoughts(bool(asked), kept, kept and not discards, not discards)


def _jinja(form: Format, thoughts: Thoughts, tokenizer: Tokenizer, default_system: str | None) -> JinjaTemplate:
    roles = {role: Slots(getattr(form, role), tokenizer) for role in _ROLES}
    parts = Parts(form=form, thought=Slots((form.empty_thought,), tokenizer), eos=tokenizer.eos, **roles)
    default = form.default_system if default_system is None else default_system
    return JinjaTemplate(jinja_source(parts, default, thoughts), bos_token=tokenizer.bos, eos_token=tokenizer.eos)


__all__ = ["Difference", "from_training", "mismatch", "names", "trained_jinja", "trained_stops"]
