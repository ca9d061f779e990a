"""Vocabularies written into a GGUF tokenise in llama.cpp exactly as the `tokenizers` library does, id by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.tokenizers.corpus import CORPUS, CorpusText, corpus_for
from conch_ollama.tokenizers.original import encode
from conch_ollama.tokenizers.pretokenizer_table import PRE_TOKENIZERS, PreTokenizer
from conch_ollama.tokenizers.pretokenizers import PROBES, as_pre_tokenizer
from conch_ollama.tokenizers.vocabulary import Vocabulary, read_vocabulary, vocabulary_from_gguf
from tests.tokenizers.folders import (
    QWEN2_SPLIT,
    VOCABULARY,
    added_token,
    tokenizer_json,
    write_folder,
    write_gguf_tokenizer,
)
from tests.tokenizers.llama_cpp_ids import llama_cpp_ids, write_model

ROWS: Mapping[str, PreTokenizer] = {row.names[0]: row for row in PRE_TOKENIZERS}
TEXTS = [item.text for item in CORPUS]
Ids = list[list[int]]


@dataclass(frozen=True)
class Comparison:
    """Ids of all texts: what llama.cpp found and what the original tokenizer wanted."""

    vocabulary: Vocabulary
    found: Ids
    wanted: Ids

    def differing(self, items: Sequence[CorpusText]) -> list[str]:
        """Names of the texts whose ids differ."""
        rows = zip(items, self.found[: len(items)], self.wanted[: len(items)], strict=True)
        return [item.name for item, found, wanted in rows if found != wanted]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Comparison]:
    """Every row of the table, on the corpus and the probes, by one child process."""
    folder = tmp_path_factory.mktemp("rows")
    texts = [*TEXTS, *PROBES]
    vocabularies, wanted, files = [], [], []
    for name, row in ROWS.items():
        source = tokenizer_json(as_pre_tokenizer(row.patterns), ignore_merges=row.ignore_merges)
        write_folder(folder / name, source, tokenizer_config={"eos_token": "<|im_end|>"})
        vocabularies.append(read_vocabulary(folder / name, vocab_size=VOCABULARY + 8, pre=name))
        wanted.append(encode(folder / name, texts, add_special_tokens=False))
        files.append(write_model(folder / f"{name}.gguf", vocabularies[-1].metadata()))
    found = llama_cpp_ids(files, texts)
    return {name: Comparison(*parts) for name, *parts in zip(ROWS, vocabularies, found, wanted, strict=True)}


@pytest.mark.parametrize("name", ROWS)
def test_pre_tokenizer_splits_as_llama_cpp_does(rows: Mapping[str, Comparison], name: str) -> None:
    row = rows[name]
    items = corpus_for(row.vocabulary.gaps)
    assert [text for text in row.differing(items) if text in {item.name for item in items if not item.known_gap}] == []
    if not row.vocabulary.gaps:
        probes = zip(PROBES, row.found[len(TEXTS) :], row.wanted[len(TEXTS) :], strict=True)
        assert [text for text, found, wanted in probes if found != wanted] == []


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.gap])
def test_a_gap_of_the_table_is_a_real_one(rows: Mapping[str, Comparison], name: str) -> None:
    known = {item.name for item in corpus_for(rows[name].vocabulary.gaps) if item.known_gap}
    assert set(rows[name].differing(CORPUS)) & known


def test_the_texts_tell_pre_tokenizers_apart(rows: Mapping[str, Comparison]) -> None:
    """A wrong name shows in the ids: each two rows that split otherwise give other ids for some text."""
    by_patterns = {ROWS[name].patterns: tuple(map(tuple, row.wanted)) for name, row in rows.items()}
    assert len(set(by_patterns.values())) == len(by_patterns)


SPECIAL_CASES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bos by post-processor": (
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {
                    "<|im_start|>": {"id": "<|im_start|>", "ids": [VOCABULARY + 1], "tokens": ["<|im_start|>"]}
                },
            }
        },
        {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"},
    ),
    "bos by configuration": ({}, {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", "add_bos_token": True}),
    "no bos by configuration": ({}, {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", "add_bos_token": False}),
    "nothing said": ({}, {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>"}),
    "bos and eos": (
        {},
        {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "add_bos_token": True, "add_eos_token": True},
    ),
    "llama-bpe, nothing said": (
        {"pre_tokenizer": as_pre_tokenizer(ROWS["llama-bpe"].patterns), "ignore_merges": True},
        {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>"},
    ),
    "llama-bpe without bos": (
        {"pre_tokenizer": as_pre_tokenizer(ROWS["llama-bpe"].patterns), "ignore_merges": True},
        {"eos_token": "<|im_end|>"},
    ),
    "added tokens that are text": (
        {
            "pre_tokenizer": QWEN2_SPLIT,
            "added_tokens": [
                added_token(VOCABULARY, "<|im_end|>"),
                added_token(VOCABULARY + 1, "海螺", special=False, normalized=True),
                added_token(VOCABULARY + 2, "<think>", special=False),
                added_token(VOCABULARY + 3, "a▁b é", special=False),
                added_token(VOCABULARY + 4, "  ", special=False),
            ],
        },
        {"eos_token": "<|im_end|>"},
    ),
}
SPECIAL_TEXTS = [
    "",
    "hi",
    "<|im_start|>hi<|im_end|>",
    " 神奇海螺 <think>\n\n</think>  a▁b é.  \n",
    "<|endoftext|>x<|endoftext|>",
]


@pytest.fixture(scope="module")
def special_cases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Comparison]:
    """Ids with whatever is put around a text."""
    folder = tmp_path_factory.mktemp("specials")
    vocabularies, wanted, files = [], [], []
    for number, (parts, tokenizer_config) in enumerate(SPECIAL_CASES.values()):
        write_folder(folder / f"{number}", tokenizer_json(**parts), tokenizer_config=tokenizer_config)
        vocabularies.append(read_vocabulary(folder / f"{number}", vocab_size=VOCABULARY + 16))
        wanted.append(encode(folder / f"{number}", SPECIAL_TEXTS, add_special_tokens=True))
        files.append(write_model(folder / f"{number}.gguf", vocabularies[-1].metadata()))
    found = llama_cpp_ids(files, SPECIAL_TEXTS, add_special=True)
    return {name: Comparison(*parts) for name, *parts in zip(SPECIAL_CASES, vocabularies, found, wanted, strict=True)}


@pytest.mark.parametrize("name", SPECIAL_CASES)
def test_what_stands_around_a_text_and_added_tokens(special_cases: Mapping[str, Comparison], name: str) -> None:
    case = special_cases[name]
    assert case.found == case.wanted
    begins_with_bos = [ids[:1] == [case.vocabulary.bos] for ids in case.wanted[:2]]
    assert case.vocabulary.add_bos == all(begins_with_bos)


def test_llama_cpp_stops_at_each_key_that_stops_may_choose(tmp_path: Path) -> None:
    """With weights of zero one ordinary token comes again and again; it ends generation where a key says so."""
    read = read_vocabulary(write_folder(tmp_path / "folder"), vocab_size=VOCABULARY + 8)

    def complete(**special: int) -> dict[str, Any]:
        metadata = replace(read, special={**read.special, **special}).metadata()
        with LlamaCppWorker(write_model(tmp_path / "model.gguf", metadata), num_ctx=256) as worker:
            return worker.complete("a", max_tokens=4, temperature=0.0, return_tokens=True)

    unstopped = complete()
    again = unstopped["tokens"][0]
    assert (unstopped["tokens"], unstopped["stop_type"]) == ([again] * 4, "limit")
    assert [complete(**{role: again})["stop_type"] for role in ("eos", "eot", "eom")] == ["eos"] * 3


def test_smollm2(smollm2_gguf: Path, tmp_path: Path) -> None:
    """Its GGUF's tokens as a tokenizer.json, read back: the same metadata, the same ids in both files and by Rust."""
    with GGUFFile(smollm2_gguf) as file:
        carried = vocabulary_from_gguf(file.metadata)
    folder = write_gguf_tokenizer(tmp_path / "smollm2", carried, as_pre_tokenizer(ROWS["smollm"].patterns))
    vocabulary = read_vocabulary(folder, vocab_size=len(carried.tokens))

    assert (
        (vocabulary.pre, vocabulary.eos, vocabulary.bos) == (carried.pre, carried.eos, carried.bos) == ("smollm", 2, 1)
    )
    assert list(vocabulary.tokens) == list(carried.tokens)
    assert list(vocabulary.types) == list(carried.types)
    assert list(vocabulary.merges) == list(carried.merges)
    files = [
        write_model(tmp_path / "read.gguf", vocabulary.metadata()),
        write_model(tmp_path / "carried.gguf", carried.metadata()),
    ]
    read, verbatim = llama_cpp_ids(files, TEXTS)
    assert read == verbatim == encode(folder, TEXTS, add_special_tokens=False)
