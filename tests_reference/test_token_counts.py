"""The real Ollama's prompt token count is that of the original tokenizer on the Jinja's own rendering.

Vocabulary-only GGUFs with real tokenizers, the proven TEMPLATE, `/api/chat`, one token asked for; every plain class.
What is compared is a count: that the bytes are the same is shown in tests/chat_template and tests_proof. llama.cpp does
not normalise: decomposed text, with a tokenizer that composes it (Qwen's), is a known gap and not counted.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.compare import refer
from conch_ollama.chat_template.conversations import CONVERSATIONS, ODD_KIND, PLAIN, Conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.trained.formats import trained_jinja
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Metadata, Value, ValueType, array, boolean, string, strings, u32
from conch_ollama.tokenizers.original import load
from conch_ollama.tokenizers.vocabulary import read_vocabulary, vocabulary_from_gguf
from tests.chat_template.references import index
from tests.chat_template.test_real_ollama import OPTIONS, Renderer, renderer
from tests.parts.ollama import OllamaServer
from tests.tokenizers.folders import write_gguf_tokenizer
from tests.tokenizers.llama_cpp_ids import write_model
from tests_reference.oracle import real_tokenizer

__all__ = ["renderer"]  # the fixture

#: reference template -> the tokenizer of its model
TOKENIZERS = {
    "smollm2": "smollm2",
    **dict.fromkeys(("qwen2", "qwen2.5", "qwen3", "qwq"), "qwen3"),
    "deepseek-v3": "deepseek_v3",
    "llama3": "llama3",
    "llama3.1": "llama3_1",
    **dict.fromkeys(("llama2", "tinyllama", "vicuna"), "llama2"),
    "gemma3": "gemma3",
}
#: The server puts a BOS in front that the model's Jinja does not write: one token more, and a warning of the proof. An
#: export whose trained format is known to have none writes a GGUF that adds none.
BOS_ADDED = ("tinyllama",)
#: Tokenizers of SentencePiece's kind, and whether a space goes in front of a text.
SENTENCEPIECE = {"llama2": True, "gemma3": False}
#: family (with another `add_bos` or `jinja`, too) -> (a model in Ollama with its TEMPLATE, the original tokenizer)
Model = Callable[..., tuple[str, Any]]
_DIGITS = {"type": "Digits", "individual_digits": True}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_SMOLLM2 = {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTE_LEVEL]}


@cache
def vocabulary(name: str, smollm2: Path, scratch: Path) -> tuple[Metadata, Any]:
    """(`tokenizer.*` keys, the original tokenizer)"""
    if name == "smollm2":
        with GGUFFile(smollm2) as file:
            found = vocabulary_from_gguf(file.metadata)
            scratch.mkdir()
            write_gguf_tokenizer(scratch, found, _SMOLLM2)
            return dict(found.metadata()), load(scratch)
    folder = real_tokenizer(name)
    original = load(folder)
    if name in SENTENCEPIECE:
        return sentencepiece(folder, space_in_front=SENTENCEPIECE[name]), original
    return dict(read_vocabulary(folder, vocab_size=original.get_vocab_size()).metadata()), original


def sentencepiece(folder: Path, *, space_in_front: bool) -> dict[str, Value]:
    """A tokenizer.json made of a SentencePiece BPE as llama.cpp wants it: the earlier merged, the better the score."""
    found = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = dict(found["model"]["vocab"])
    added = {one["content"]: one for one in found["added_tokens"]}
    ids |= {text: one["id"] for text, one in added.items()}
    tokens = [text for text, _ in sorted(ids.items(), key=lambda pair: pair[1])]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in found["model"]["merges"]]
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", ""), rank)
    kinds = [_kind(text, added) for text in tokens]
    scores = [-float(ranks.get(text, len(merges))) for text in tokens]
    return {
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.pre": string("default"),
        "tokenizer.ggml.tokens": strings(tokens),
        "tokenizer.ggml.scores": array(ValueType.FLOAT32, scores),
        "tokenizer.ggml.token_type": array(ValueType.INT32, kinds),
        "tokenizer.ggml.unknown_token_id": u32(ids["<unk>"]),
        "tokenizer.ggml.bos_token_id": u32(ids.get("<bos>", ids.get("<s>", 0))),
        "tokenizer.ggml.eos_token_id": u32(ids.get("<eos>", ids.get("</s>", 0))),
        "tokenizer.ggml.add_space_prefix": boolean(space_in_front),
    }


def _kind(text: str, added: dict[str, dict[str, Any]]) -> int:
    if text == "<unk>":
        return 2
    if text in added:
        return 3 if added[text]["special"] else 4
    return 6 if len(text) == 6 and text.startswith("<0x") else 1


def sample(name: str) -> list[Conversation]:
    """Every plain conversation that is not odd, and this family's share of the odd ones."""
    place = list(TOKENIZERS).index(name)
    odd = [one for one in CONVERSATIONS if one.kind == ODD_KIND]
    return [*(one for one in CONVERSATIONS if one.kind in PLAIN and one.kind != ODD_KIND), *odd[place::10]]


@pytest.fixture(scope="module")
def model(renderer: Renderer, smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    scratch = tmp_path_factory.mktemp("vocabularies")
    digests: dict[tuple[str, bool], str] = {}

    def made(name: str, *, add_bos: bool | None = None, jinja: JinjaTemplate | None = None) -> tuple[str, Any]:
        reference, tokenizer = index()[name], TOKENIZERS[name]
        metadata, original = vocabulary(tokenizer, smollm2_gguf, scratch / "smollm2")
        adds = reference.add_bos if add_bos is None else add_bos
        key = tokenizer, adds
        if key not in digests:
            own = {**metadata, "tokenizer.ggml.add_bos_token": boolean(adds)}
            own |= {"llama.context_length": u32(8192)}
            digests[key] = renderer.upload(write_model(scratch / f"{tokenizer}-{adds}.gguf", own))
        proof = best_template(jinja or reference.template(), add_bos=adds, bos_token=reference.bos_token)
        assert proof.proven
        assert bool(proof.warnings) == (name in BOS_ADDED and adds)
        return renderer.create(f"counted-{name}", proof.template, digests[key]), original

    yield made


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ollama_counts_the_tokens_that_the_original_counts(renderer: Renderer, model: Model, name: str) -> None:
    assert set(differences(renderer, name, *model(name))) == {1 if name in BOS_ADDED else 0}


@pytest.mark.parametrize("trained", [None, "zephyr", "vicuna", "alpaca"])
@pytest.mark.parametrize("name", BOS_ADDED)
def test_where_training_had_no_bos_there_is_no_token_more(
    renderer: Renderer, model: Model, name: str, trained: str | None
) -> None:
    """With `add_bos_token` false, as an export writes it where LLaMA-Factory's format has no BOS
    (tests/workflows/test_trained_bos.py; that format is held against LLaMA-Factory itself in tests_training)."""
    of = index()[name]
    jinja = of.template()
    if trained is not None:
        tokens: dict[str, Any] = {"bos_token": of.bos_token, "eos_token": of.eos_token, "space_prefix": True}
        jinja = trained_jinja(trained, special_tokens={*of.tokens().values()}, **tokens)
    created, original = model(name, add_bos=False, jinja=jinja)
    assert set(differences(renderer, name, created, original, jinja)) == {0}


def differences(
    renderer: Renderer, name: str, created: str, original: Any, jinja: JinjaTemplate | None = None
) -> dict[int, str]:
    """Ollama's count less that of transformers' `apply_chat_template`, with the last text that has it."""
    jinja = jinja or index()[name].template()
    found, kinds = {}, set()
    composes = "NFC" in str(original.normalizer)
    for one in sample(name):
        text = refer(jinja, one).text
        if text is None or (composes and unicodedata.normalize("NFC", text) != text):
            continue
        body = {"model": created, "messages": one.messages, "stream": False, "options": OPTIONS}
        answer = renderer.http.post("/api/chat", json=body)
        assert answer.status_code == 200, answer.text
        kinds.add(one.kind)
        found[answer.json()["prompt_eval_count"] - len(original.encode(text, add_special_tokens=False).ids)] = text
    assert kinds >= set(PLAIN) - {"system", "system + turns"}
    return found


def test_the_server_is_the_one_that_is_meant(ollama_server: OllamaServer) -> None:
    assert ollama_server.version
