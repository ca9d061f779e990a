"""The Jinja of every format renders what LLaMA-Factory encodes: text by text, and token by token where that can be.

The oracle is LLaMA-Factory itself, with SmolLM2's tokenizer and a BOS and an EOS of its own.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from transformers import PreTrainedTokenizerFast

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.trained.formats import from_training, names, trained_jinja
from conch_ollama.chat_template.trained.table import formats
from conch_ollama.chat_template.trained.tools import TOOL_FORMATS
from tests_training.conftest import in_force
from tests_training.formats_table import PATH, table

BOS, EOS = "<bos!>", "<eos!>"
#: LLaMA-Factory encodes slot by slot. In these formats SmolLM2's tokenizer cuts the whole text otherwise where two
#: slots meet: at ". USER", or at line feeds before a word, which other tokenizers keep together.
SEAMS = frozenset(
    re.findall(
        r"\S+",
        """
        alpaca breeze deepseek deepseekcoder deepseekr1 empty ernie_nothink ernie_vl falcon fewshot glm4_5v glm4_moe
        glm4v glmz1 index keye_vl llama3 llama4 llava llava_next llava_next_llama3 llava_next_video mimo mimo_vl
        minimax2 mllama openchat openchat-3.6 qwen3 qwen3_5 qwen3_6 qwen3_omni qwen3_vl solar vicuna video_llava
        xuanyuan youtu yuan
        """,
    )
)
#: Their empty thought ends where the answer begins, and then a thought in the last answer is let stand.
OPEN = ("hy3", "mimo_v2")
REASONING = [name for name in names() if formats()[name].is_reasoning]

Turns = Sequence[str]

#: Question, answer, question, answer …
TURNS: tuple[Turns, ...] = (
    ("What is the capital of France?", "Paris."),
    ("请问你是谁？", "我是神奇海螺。"),
    ("Hi", "Hello!", "How are you?", "Well, thanks."),
    ("one", "1", "two", "2", "你好", "3"),
)
ODD: tuple[Turns, ...] = (
    ("  two spaces\n", "\n\nlines\n around ", " \n", 'it\'s a "quote" \\n {{ x }} {% y %}'),
    ("\t", "3\n", "三", ""),
)
SYSTEMS = (None, "", "Be brief.", "你是神奇海螺。\n ")
THOUGHTS: tuple[Turns, ...] = (
    ("Hi", "{0}thinking{1}Hello!", "And now?", "{0}again\nand again{1}\n\nGo."),
    ("Hi", "{0}thinking{1}Hello!", "And now?", "\nNothing."),
    ("Hi", "\n\nHello!", "And now?", "{0}thinking{1}Nothing."),
)

_SPECIAL = re.compile(r"<[^<>\s{}]+>|\[[^\[\]\s{}]+\]|\[\|\w+\|\]|◁[^▷]+▷")

THINKING = [
    {"enable_thinking": thinking, **history}
    for thinking in (True, False, None)
    for history in ({}, {"mask_history": True}, {"preserve_thinking": True})
]


@pytest.fixture(scope="module")
def other_tokenizer(tokenizer: Any) -> Any:
    """SmolLM2's tokenizer with a BOS and an EOS that no format writes by name, and every token that a format does."""
    found = copy.deepcopy(tokenizer)
    found.add_special_tokens({"bos_token": BOS, "eos_token": EOS, "additional_special_tokens": sorted(_tokens())})
    return found


def _slots() -> Iterator[Any]:
    for form in formats().values():
        yield from (*form.prefix, *form.system, *form.user, *form.assistant, *form.thought_words)


def _tokens() -> Iterator[str]:
    for slot in _slots():
        yield from _SPECIAL.findall(slot) if isinstance(slot, str) else [slot["token"]] if "token" in slot else []


def conversation(turns: Turns, system: str | None = None) -> list[dict[str, str]]:
    found = [{"role": "system", "content": system}] if system is not None else []
    return [*found, *({"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns))]


def trained_ids(template: Any, tokenizer: Any, arguments: Any, turns: Turns, system: str | None) -> list[int]:
    """The ids that supervised training sees."""
    template.mm_plugin = get_mm_plugin("base")  # those for media want a processor, and leave text alone
    processor = SupervisedDatasetProcessor(template, tokenizer, None, arguments)
    *prompt, response = conversation(turns)
    columns = {"prompt": prompt, "response": [response], "system": system, "tools": None}
    example = {f"_{key}": [value] for key, value in columns.items()} | {
        f"_{kind}": [None] for kind in ("images", "videos", "audios")
    }
    ids: list[int] = processor.preprocess_dataset(example)["input_ids"][0]
    return ids


def prompt_ids(template: Any, tokenizer: Any, turns: Turns, system: str | None, **options: Any) -> list[int]:
    """The ids before the last answer, in supervised training."""
    pairs = template.encode_multiturn(tokenizer, conversation(turns), system, None, **options)
    return [one for source, target in [*pairs[:-1], (pairs[-1][0], [])] for one in (*source, *target)]


def text(tokenizer: Any, ids: Sequence[int]) -> str:
    found: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return found


def rendered(jinja: JinjaTemplate, turns: Turns, system: str | None) -> tuple[str, str]:
    """The whole conversation, and its prompt for the last answer."""
    messages = conversation(turns, system)
    return jinja.render(messages, add_generation_prompt=False), jinja.render(messages[:-1])


def test_the_table_is_what_is_installed() -> None:
    assert json.loads(PATH.read_text(encoding="utf-8")) == table()


@pytest.mark.parametrize("name", names())
def test_texts_are_those_of_training(name: str, other_tokenizer: Any) -> None:
    template, tokenizer, arguments = in_force(copy.deepcopy(other_tokenizer), template=name)
    jinja = trained_jinja(name, bos_token=BOS, eos_token=EOS)
    assert jinja.eos_token == tokenizer.eos_token
    seams = False
    for turns in (*TURNS, *ODD):
        for system in SYSTEMS:
            whole, prompt = rendered(jinja, turns, system)
            assert text(tokenizer, trained_ids(template, tokenizer, arguments, turns, system)) == whole
            before = prompt_ids(template, tokenizer, turns, system)
            assert text(tokenizer, before) == prompt
            seams |= turns in TURNS and before != tokenizer.encode(prompt, add_special_tokens=False)
    assert seams == (name in SEAMS)


@pytest.mark.parametrize("options", ({}, {"default_system": "只说海螺话。"}, {"default_system": ""}))
def test_default_system_of_the_configuration(options: dict[str, str], other_tokenizer: Any) -> None:
    template, tokenizer, _ = in_force(copy.deepcopy(other_tokenizer), template="vicuna", **options)
    jinja = from_training({"template": "vicuna", **options}, bos_token=BOS, eos_token=EOS)
    assert jinja is not None
    for system in SYSTEMS:
        assert (
            text(tokenizer, prompt_ids(template, tokenizer, TURNS[0], system)) == rendered(jinja, TURNS[0], system)[1]
        )


@pytest.mark.parametrize("name", REASONING)
def test_thoughts_are_those_of_training(name: str, other_tokenizer: Any) -> None:
    own = copy.deepcopy(other_tokenizer)
    for options in THINKING:
        template, tokenizer, arguments = in_force(own, template=name, **options)
        jinja = from_training({"template": name, **options}, bos_token=BOS, eos_token=EOS)
        assert jinja is not None
        discards = arguments.mask_history and not arguments.preserve_thinking
        for turns, bare in _with_thoughts(name, template):
            whole, prompt = rendered(jinja, turns, "Be brief.")
            assert text(tokenizer, trained_ids(template, tokenizer, arguments, bare, "Be brief.")) == whole
            before = prompt_ids(template, tokenizer, bare, "Be brief.", discarding_history_cot=discards)
            assert text(tokenizer, before) == prompt


@pytest.mark.parametrize("name", REASONING)
def test_thoughts_are_those_of_a_preference_training(name: str, other_tokenizer: Any) -> None:
    own = copy.deepcopy(other_tokenizer)
    for options in THINKING:
        template, tokenizer, _ = in_force(own, template=name, **options)
        jinja = from_training({"template": name, "stage": "dpo", **options}, bos_token=BOS, eos_token=EOS)
        assert jinja is not None
        for turns, bare in _with_thoughts(name, template):
            whole, prompt = rendered(jinja, turns, "Be brief.")
            before, answer = template.encode_oneturn(tokenizer, conversation(bare), "Be brief.", None)
            end = jinja.eos_token if template.efficient_eos else ""
            assert text(tokenizer, before + answer) + end == whole
            assert text(tokenizer, before) == prompt


def _with_thoughts(name: str, template: Any) -> Iterator[tuple[Turns, Turns]]:
    """Conversations, and the same for LLaMA-Factory: our Jinja takes thoughts out of old answers, whatever training
    left there, for Ollama hands answers out without them."""
    words = formats()[name].thought_words
    for turns in (*TURNS[:3], *ODD):
        yield turns, turns
    if "</think>" not in words[1]:  # others are not looked for
        return
    for turns in THOUGHTS[1:2] if name in OPEN else THOUGHTS:
        said = tuple(turn.replace("{0}", words[0]).replace("{1}", words[1]) for turn in turns)
        yield said, tuple(template.remove_thought(turn) if words[1] in turn else turn for turn in said)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'The "weather"\nof 北京',
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    },
    {"type": "function", "function": {"name": "time", "description": "", "parameters": {}}},
]
CALLS = [{"name": "weather", "arguments": {"city": "北京", "days": 2}}, {"name": "time", "arguments": {}}]


@pytest.mark.parametrize("name", [name for name in names() if formats()[name].tool_format in TOOL_FORMATS])
@pytest.mark.parametrize("results", [("dry",), ("dry", '{"hour": 3}')])
def test_tools_are_those_of_training(name: str, results: tuple[str, ...], other_tokenizer: Any) -> None:
    """Declared, called and answered; LLaMA-Factory's converter joins the results before it encodes them."""
    template, tokenizer, _ = in_force(copy.deepcopy(other_tokenizer), template=name)
    jinja = trained_jinja(name, bos_token=BOS, eos_token=EOS)
    calls = CALLS[: len(results)]
    theirs = [
        {"role": "user", "content": "Rain?"},
        {"role": "function", "content": json.dumps(calls, ensure_ascii=False)},
        {"role": "observation", "content": "\n</tool_response>\n<tool_response>\n".join(results)},
        {"role": "assistant", "content": "No."},
    ]
    ours: list[dict[str, Any]] = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call} for call in calls]},
        *({"role": "tool", "content": result} for result in results),
        {"role": "assistant", "content": "No."},
    ]
    end = jinja.eos_token if template.efficient_eos else ""
    for system in ("", "Be brief."):
        said = [{"role": "system", "content": system}] if system else []
        pairs = template.encode_multiturn(tokenizer, theirs, system, json.dumps(TOOLS, ensure_ascii=False))
        ids = [one for pair in pairs for half in pair for one in half]
        assert text(tokenizer, ids) + end == jinja.render([*said, *ours], tools=TOOLS, add_generation_prompt=False)
        ids = [*pairs[0][0], *pairs[0][1], *pairs[1][0]]
        assert text(tokenizer, ids) == jinja.render([*said, *ours[:-1]], tools=TOOLS)


def _with_words(name: str) -> list[Turns]:
    words = formats()[name].thought_words
    return [tuple(turn.replace("{0}", words[0]).replace("{1}", words[1]) for turn in turns) for turns in THOUGHTS]


def _prompt_for(name: str, prompt: str, turns: Turns, thinking: bool | None) -> str:
    """With `enable_thinking: null` an answer that has a thought is trained behind an open prompt."""
    form = formats()[name]
    if thinking is None and any(word.strip() in turns[-1] for word in form.thought_words):
        return prompt.removesuffix(form.empty_thought)
    return prompt


@pytest.fixture(scope="module")
def sentencepiece() -> Any:
    """A tokenizer of characters that puts a space before every text, as Llama 2's does."""
    characters = sorted({*"▁\n", *(chr(code) for code in range(33, 127)), *"请问你是谁？我神奇海螺。你好"})
    named = sorted(slot["token"] for slot in _slots() if not isinstance(slot, str) and "token" in slot)
    vocabulary = {token: number for number, token in enumerate(["<unk>", BOS, EOS, *named, *characters])}
    rust = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    rust.pre_tokenizer = Metaspace(prepend_scheme="always", split=False)
    rust.decoder = MetaspaceDecoder(prepend_scheme="always")
    special = {"unk_token": "<unk>", "bos_token": BOS, "eos_token": EOS, "additional_special_tokens": named}
    return PreTrainedTokenizerFast(tokenizer_object=rust, **special)


@pytest.mark.parametrize("name", names())
def test_spaces_that_a_sentencepiece_tokenizer_puts(name: str, sentencepiece: Any) -> None:
    """The text, encoded as a whole, has the tokens of training, which encodes slot by slot."""
    template, tokenizer, _ = in_force(copy.deepcopy(sentencepiece), template=name)
    added = tokenizer.get_added_vocab()
    jinja = trained_jinja(name, bos_token=BOS, eos_token=EOS, space_prefix=True, special_tokens=added)
    for turns in TURNS:
        for system in (None, "Be brief."):
            prompt = rendered(jinja, turns, system)[1]
            ids = tokenizer.encode(prompt, add_special_tokens=False)
            assert ids == prompt_ids(template, tokenizer, turns, system), (prompt, tokenizer.convert_ids_to_tokens(ids))
