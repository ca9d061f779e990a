"""Which tokens end a turn: EOS, generation_config.json and the chat template together.

The template is read, not rendered: its string literals and content expressions in order show which special token
follows a message. What llama.cpp stops at is said here too, so that a stop it would not honour gets a key or a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Texts that llama.cpp takes for an end of generation wherever a vocabulary holds them (llama_vocab::impl::load).
EOG_TEXTS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"),
        *("<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>"),
        *("<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["),
    }
)
# Ends of turns wherever a template writes them, even where the text around hides that they follow a message.
_TURN_ENDS = frozenset(
    {
        *("<|im_end|>", "<|eot_id|>", "<|eot|>", "<end_of_turn>", "<|end|>", "<|END_OF_TURN_TOKEN|>", "<|endofturn|>"),
        *("[|endofturn|]", "<|end_of_turn|>", "<｜end▁of▁sentence｜>", "<end_of_utterance>", "<|return|>", "[EOT]"),
        *("<EOT>", "<turn|>", "<|eom_id|>"),
    }
)
_NOT_AN_END = re.compile(
    "(?i)start|begin|header|role|system|user|assistant|human|tool|think|image|img|audio|video|vision|patch|"
    "inst|sep|call|fim|python|content|message|channel"
)
_CONTENT = re.compile(r"(?i)content|\btext\b|message_text")


@dataclass(frozen=True)
class Stops:
    """`ids` end a turn, the most usual first; `strings` are their texts, for a Modelfile.

    `eos` and what of `eot` and `eom` must be written for llama.cpp to stop. None: no such token, or none needed.
    """

    eos: int | None
    eot: int | None
    eom: int | None
    ids: tuple[int, ...]
    strings: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def find_stops(
    *,
    ids: Mapping[str, int],
    added: frozenset[str],
    chat_template: str | None,
    eos: int | None,
    eot: int | None = None,
    eom: int | None = None,
    configured: Sequence[int] = (),
) -> Stops:
    """Joins what the files say. `added` are the texts of added tokens, `configured` all EOS ids of config.json and
    generation_config.json.
    """
    texts = {ids[text]: text for text in added if text in ids}
    ends = [
        ids[text] for text in turn_ends(chat_template or "", added, eos_token=texts.get(-1 if eos is None else eos))
    ]
    warnings: list[str] = []
    if eos is None:
        eos = next(iter((*ends, *configured)), None)
        if eos is None:
            warnings.append("no end of text is known (eos_token, eos_token_id): generation ends at num_predict only")
    if ends and eos not in ends:
        eot = ends[0] if eot is None else eot
        if (text := texts.get(-1 if eos is None else eos)) and text in (chat_template or ""):
            warnings.append(f"eos_token {text!r} stands in the chat template and ends no message there: is it right?")
    stop_ids = tuple(dict.fromkeys(index for index in (*ends, eot, eos, *configured, eom) if index is not None))
    for index in stop_ids:
        if index in (eos, eot, eom) or texts.get(index) in EOG_TEXTS:
            continue
        # Two keys can hold a further stop. Where no template tells which ends a turn, a second EOS probably does.
        if eot is None and not ends:
            eot = index
        elif eom is None:
            eom = index
        elif eot is None:
            eot = index
        else:
            warnings.append(f"llama.cpp does not stop at {texts.get(index, index)!r}: it needs a stop string")
    strings = tuple(texts[index] for index in stop_ids if index in texts)
    return Stops(eos, eot, eom, stop_ids, strings, tuple(warnings))


def turn_ends(template: str, added: frozenset[str], *, eos_token: str | None) -> list[str]:
    """Special tokens that end a message in a chat template, in order of first appearance.

    EOS and those of many models by name; where there is none, whatever special token follows the message.
    An unreadable template gives none: `chat_template` reports it.
    """
    harmony = {"<|return|>", "<|call|>"} <= added
    known: dict[str, None] = {}
    likely: dict[str, None] = {}
    after_message = False
    for kind, text in _events(template, added, eos_token):
        if kind == "special":
            follows = after_message and not _NOT_AN_END.search(text)
            # In harmony `<|end|>` ends a channel, not the turn; llama.cpp makes the same exception.
            if (text in _TURN_ENDS or (follows and text == eos_token)) and not (harmony and text == "<|end|>"):
                known[text] = None
            elif follows:
                likely[text] = None
            after_message = after_message and follows
        elif kind == "content":
            after_message = True
        elif text.strip():
            after_message = False
    return list(known or likely)


def _events(template: str, added: frozenset[str], eos_token: str | None) -> Iterator[tuple[str, str]]:
    """("special", token), ("content", name) or ("text", literal) for all that a template writes, in source order."""
    specials = _alternation(added)
    for kind, value in _written(template):
        if kind == "name":
            if value == "eos_token" and eos_token:
                yield "special", eos_token
            elif _CONTENT.search(value):
                yield "content", value
            elif value == "role":
                yield "text", value
        elif kind == "string" and _CONTENT.fullmatch(value):
            yield "content", value
        elif specials is None:
            yield "text", value
        else:
            for piece in specials.split(value):
                if piece:
                    yield ("special" if piece in added else "text"), piece


def _alternation(added: frozenset[str]) -> re.Pattern[str] | None:
    if not added:
        return None
    return re.compile("(" + "|".join(re.escape(text) for text in sorted(added, key=len, reverse=True)) + ")")


def _written(template: str) -> Iterator[tuple[str, str]]:
    """Names and literals of output expressions and `set`, and plain text. Conditions and loops write nothing."""
    from jinja2 import Environment, TemplateSyntaxError

    tag: str | None = ""
    raising = False
    try:
        for _, kind, value in Environment().lex(template):  # noqa: S701 - nothing is rendered
            if kind == "data":
                yield "data", value
            elif kind == "block_begin":
                tag = None
            elif kind == "variable_begin":
                tag = "output"
            elif kind in ("block_end", "variable_end"):
                tag, raising = "", False
            elif kind == "name" and tag is None:
                tag = value
            elif tag in ("output", "set") and not raising:
                if kind == "name":
                    raising = value == "raise_exception"
                    yield "name", value
                elif kind == "string":
                    yield "string", re.sub(r"\\[nrt]", "\n", value[1:-1])
    except TemplateSyntaxError:
        return
