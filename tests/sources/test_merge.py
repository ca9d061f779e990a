"""Merging: formulas against numpy on whole matrices, tied embeddings, vocabularies, and adapters that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.errors import (
    AdapterKindError,
    AdapterMismatchError,
    ConchError,
    MissingTensorError,
    NonFiniteError,
    UnknownTypeError,
    UsageError,
)
from conch_ollama.formats.floats import bf16_from_float32, float32_from_bf16
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.adapter import open_adapter
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.merge import MergedSource
from tests.sources.made_adapters import (
    HIDDEN,
    PREFIX,
    Q0,
    RANK,
    VOCAB,
    WIDE,
    Array,
    Arrays,
    base_arrays,
    files_of,
    lora,
    lora_arrays,
    make_adapter,
    make_base,
    random,
    save_tensors,
)

EMBED, HEAD = "model.embed_tokens", "lm_head"
SCALE = 1.5  # lora_alpha 6, rank 4


def merged(base: Path, *adapters: Path | tuple[Path, float], dtype: Any = "float32") -> MergedSource:
    pairs = [adapter if isinstance(adapter, tuple) else (adapter, 1.0) for adapter in adapters]
    return MergedSource(HuggingFaceFolder(base), [(open_adapter(path), weight) for path, weight in pairs], dtype=dtype)


def whole(source: MergedSource, name: str) -> Array:
    return source.read(name, 0, source.tensors[name].rows)


def refused(base: Path, adapters: Sequence[Path | tuple[Path, float]], error: type[ConchError], *named: str) -> str:
    """Merging raises exactly this error, which names the things; no file changes. Returns the message."""
    folders = [base, *(adapter if isinstance(adapter, Path) else adapter[0] for adapter in adapters)]
    before = [files_of(folder) for folder in folders]
    with pytest.raises(error) as caught:
        merged(base, *adapters)
    assert caught.value.code == error.code
    for name in named:
        assert name in caught.value.message
    assert [files_of(folder) for folder in folders] == before
    return caught.value.message


def embedding_lora(module: str = EMBED, rows: int = VOCAB, columns: int = HIDDEN, seed: int = 0) -> Arrays:
    return {
        f"{PREFIX}{module}.lora_embedding_A": random((RANK, rows), 300 + seed),
        f"{PREFIX}{module}.lora_embedding_B": random((columns, RANK), 400 + seed),
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base")


# Formulas.


def test_low_rank_sum(base: Path, tmp_path: Path) -> None:
    before, adapter = base_arrays(), lora_arrays()
    source = merged(base, make_adapter(tmp_path / "a", adapter))
    assert source.config == HuggingFaceFolder(base).config
    assert dict(source.tensors) == dict(HuggingFaceFolder(base).tensors)
    for name, rows in before.items():
        a = adapter.get(f"{PREFIX}{name.removesuffix('.weight')}.lora_A.weight")
        b = adapter.get(f"{PREFIX}{name.removesuffix('.weight')}.lora_B.weight")
        expected = rows if a is None or b is None else rows + np.float32(SCALE) * (b @ a)
        np.testing.assert_allclose(whole(source, name), expected, rtol=0, atol=1e-5, err_msg=name)


def test_rank_above_a_block_of_the_sum(tmp_path: Path) -> None:
    for rank in (193, 383, 384, 400):
        adapter = lora(Q0, HIDDEN, HIDDEN, rank)
        folder = make_adapter(tmp_path / str(rank), adapter, r=rank, lora_alpha=rank)
        source = merged(make_base(tmp_path / f"base{rank}"), folder)
        a, b = (array.astype(np.float64) for array in adapter.values())
        expected = base_arrays()[f"{Q0}.weight"] + b @ a
        np.testing.assert_allclose(whole(source, f"{Q0}.weight"), expected, rtol=0, atol=1e-4)


def test_dora(base: Path, tmp_path: Path) -> None:
    magnitude = np.abs(random((HIDDEN,), 9))
    adapter = lora(Q0, HIDDEN, HIDDEN)
    a, b = adapter.values()
    folder = make_adapter(tmp_path / "a", adapter | {f"{PREFIX}{Q0}.lora_magnitude_vector": magnitude}, use_dora=True)
    value = base_arrays()[f"{Q0}.weight"] + np.float32(SCALE) * (b @ a)
    expected = magnitude[:, None] * value / np.linalg.norm(value, axis=1, keepdims=True)
    np.testing.assert_allclose(whole(merged(base, folder), f"{Q0}.weight"), expected, rtol=1e-5, atol=1e-6)


def test_dora_leaves_a_row_of_zeros_alone(tmp_path: Path) -> None:
    arrays = base_arrays()
    arrays[f"{Q0}.weight"][3] = 0
    adapter = lora(Q0, HIDDEN, HIDDEN)
    adapter[f"{PREFIX}{Q0}.lora_B.weight"][3] = 0
    adapter[f"{PREFIX}{Q0}.lora_magnitude_vector"] = np.zeros(HIDDEN, dtype=np.float32)
    source = merged(make_base(tmp_path / "base", arrays), make_adapter(tmp_path / "a", adapter, use_dora=True))
    assert np.array_equal(whole(source, f"{Q0}.weight")[3], np.zeros(HIDDEN))


def test_embedding(base: Path, tmp_path: Path) -> None:
    adapter = embedding_lora()
    a, b = adapter.values()
    source = merged(base, make_adapter(tmp_path / "a", adapter))
    expected = base_arrays()[f"{EMBED}.weight"] + np.float32(SCALE) * (b @ a).T
    np.testing.assert_allclose(whole(source, f"{EMBED}.weight"), expected, rtol=0, atol=1e-5)
    assert np.array_equal(whole(source, f"{HEAD}.weight"), base_arrays()[f"{HEAD}.weight"])


def test_dora_on_an_embedding_normalises_columns(base: Path, tmp_path: Path) -> None:
    adapter = embedding_lora()
    a, b = adapter.values()
    magnitude = np.abs(random((HIDDEN,), 9))
    folder = make_adapter(
        tmp_path / "a", adapter | {f"{PREFIX}{EMBED}.lora_magnitude_vector": magnitude}, use_dora=True
    )
    value = base_arrays()[f"{EMBED}.weight"] + np.float32(SCALE) * (b @ a).T
    expected = magnitude * value / np.linalg.norm(value, axis=0)
    source = merged(base, folder)
    np.testing.assert_allclose(source.read(f"{EMBED}.weight", 7, 9), expected[7:9], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole(source, f"{EMBED}.weight"), expected, rtol=1e-5, atol=1e-6)


def test_whole_modules_and_biases(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", bias=True)
    adapter = lora_arrays() | {
        f"{PREFIX}{Q0}.base_layer.bias": random((HIDDEN,), 7),
        f"{PREFIX}model.norm.weight": random((HIDDEN,), 8),
        f"{PREFIX}{HEAD}.weight": random((VOCAB, HIDDEN), 9),
    }
    folder = make_adapter(tmp_path / "a", adapter, bias="all", modules_to_save=["lm_head", "norm"])
    source = merged(base, folder)
    assert np.array_equal(whole(source, f"{Q0}.bias"), random((HIDDEN,), 7))
    assert np.array_equal(whole(source, "model.norm.weight"), random((HIDDEN,), 8))
    assert np.array_equal(source.read(f"{HEAD}.weight", 3, 5), random((VOCAB, HIDDEN), 9)[3:5])


def test_bias_of_the_adapter(tmp_path: Path) -> None:
    shift = random((HIDDEN,), 7)
    adapter = lora(Q0, HIDDEN, HIDDEN) | {f"{PREFIX}{Q0}.lora_B.bias": shift}
    source = merged(make_base(tmp_path / "base", bias=True), make_adapter(tmp_path / "a", adapter, lora_bias=True))
    expected = base_arrays(bias=True)[f"{Q0}.bias"] + np.float32(SCALE) * shift
    np.testing.assert_allclose(source.read(f"{Q0}.bias", 2, 6), expected[2:6], rtol=1e-6)


def test_token_rows(base: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    folder = make_adapter(tmp_path / "a", {name: random((3, HIDDEN), 5)}, trainable_token_indices=[19, 0, 7])
    expected = base_arrays()[f"{EMBED}.weight"].copy()
    expected[[19, 0, 7]] = random((3, HIDDEN), 5)
    source = merged(base, folder)
    assert np.array_equal(whole(source, f"{EMBED}.weight"), expected)
    assert np.array_equal(source.read(f"{EMBED}.weight", 7, 8), expected[7:8])
    assert np.array_equal(source.read(f"{EMBED}.weight", 8, 19), expected[8:19])


def test_several_adapters_with_weights(base: Path, tmp_path: Path) -> None:
    first, second = lora(Q0, HIDDEN, HIDDEN, seed=1), lora(Q0, HIDDEN, HIDDEN, seed=2)
    source = merged(
        base, (make_adapter(tmp_path / "a", first), 0.5), (make_adapter(tmp_path / "b", second, lora_alpha=4), -2.0)
    )
    (a1, b1), (a2, b2) = first.values(), second.values()
    expected = base_arrays()[f"{Q0}.weight"] + np.float32(0.75) * (b1 @ a1) - np.float32(2) * (b2 @ a2)
    np.testing.assert_allclose(whole(source, f"{Q0}.weight"), expected, rtol=0, atol=1e-5)
    assert str(tmp_path / "a") in source.description
    assert str(tmp_path / "b") in source.description


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_merge_in_the_bases_type_rounds_after_each_adapter(dtype: str, tmp_path: Path) -> None:
    def rounded(rows: Array) -> Array:
        if dtype == "F16":
            return rows.astype(np.float16).astype(np.float32)
        return float32_from_bf16(bf16_from_float32(rows))

    base = make_base(tmp_path / "base", dtype=dtype)
    first, second = lora(Q0, HIDDEN, HIDDEN, seed=1), lora(Q0, HIDDEN, HIDDEN, seed=2)
    folders = [make_adapter(tmp_path / name, arrays) for name, arrays in (("a", first), ("b", second))]
    expected = rounded(base_arrays()[f"{Q0}.weight"])
    for a, b in (first.values(), second.values()):
        expected = rounded(expected + np.float32(SCALE) * (b @ a))
    assert np.array_equal(whole(merged(base, *folders, dtype="base"), f"{Q0}.weight"), expected)
    assert not np.array_equal(whole(merged(base, *folders), f"{Q0}.weight"), expected)


def test_merge_in_the_bases_type_rounds_what_replaces(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", dtype="BF16")
    folder = make_adapter(
        tmp_path / "a", {f"{PREFIX}{HEAD}.weight": random((VOCAB, HIDDEN), 9)}, modules_to_save=[HEAD]
    )
    expected = float32_from_bf16(bf16_from_float32(random((VOCAB, HIDDEN), 9)))
    assert np.array_equal(whole(merged(base, folder, dtype="base"), f"{HEAD}.weight"), expected)
    assert np.array_equal(whole(merged(base, folder), f"{HEAD}.weight"), random((VOCAB, HIDDEN), 9))
    assert merged(base, folder).tensors[f"{HEAD}.weight"].dtype == "BF16"


# Reading.


@pytest.fixture
def everything(tmp_path: Path) -> MergedSource:
    """A source with every kind of change, rows wider than one step of the sum."""
    wide = 70_000
    arrays = base_arrays() | {"model.wide.weight": random((9, wide), 4)}
    magnitudes = {
        f"{PREFIX}{module}.lora_magnitude_vector": np.ones(size, dtype=np.float32)
        for module, size in ((Q0, HIDDEN), (EMBED, HIDDEN), ("model.wide", 9))
    }
    adapter = lora(Q0, HIDDEN, HIDDEN) | embedding_lora() | lora("model.wide", 9, wide) | magnitudes
    return merged(make_base(tmp_path / "base", arrays), make_adapter(tmp_path / "a", adapter, use_dora=True))


def test_rows_do_not_depend_on_the_block_they_are_read_in(everything: MergedSource) -> None:
    for name, info in everything.tensors.items():
        expected = whole(everything, name)
        for size in (1, 2, 3, 7):
            blocks = [everything.read(name, s, min(s + size, info.rows)) for s in range(0, info.rows, size)]
            assert np.array_equal(np.concatenate(blocks), expected), (name, size)


def test_threads(everything: MergedSource) -> None:
    expected = {name: whole(everything, name) for name in everything.tensors}
    jobs = [name for name in expected for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for name, rows in zip(jobs, pool.map(lambda name: whole(everything, name), jobs), strict=True):
            assert np.array_equal(rows, expected[name]), name


def test_rows_are_the_callers_own(everything: MergedSource) -> None:
    for name in everything.tensors:
        before = whole(everything, name)
        whole(everything, name)[...] = 0
        assert np.array_equal(whole(everything, name), before), name


def test_unknown_tensor(everything: MergedSource) -> None:
    with pytest.raises(MissingTensorError, match=r"model\.nothing"):
        everything.read("model.nothing", 0, 1)


def test_close(base: Path, tmp_path: Path) -> None:
    source = merged(base, make_adapter(tmp_path / "a"))
    source.close()
    with pytest.raises(ConchError):
        source.read(f"{Q0}.weight", 0, 1)


# Names.


@pytest.mark.parametrize("prefix", [PREFIX, "base_model.", ""])
def test_adapter_of_a_model_without_a_head(prefix: str, base: Path, tmp_path: Path) -> None:
    arrays = {name.replace(f"{PREFIX}model.", PREFIX): array for name, array in lora_arrays().items()}
    renamed = {prefix + name.removeprefix(PREFIX): array for name, array in arrays.items()}
    source = merged(base, make_adapter(tmp_path / "a", renamed))
    expected = merged(base, make_adapter(tmp_path / "b"))
    for name in expected.tensors:
        assert np.array_equal(whole(source, name), whole(expected, name)), name


def test_base_without_the_prefix(tmp_path: Path) -> None:
    arrays = {name.removeprefix("model."): array for name, array in base_arrays().items()}
    source = merged(make_base(tmp_path / "base", arrays), make_adapter(tmp_path / "a"))
    expected = merged(make_base(tmp_path / "usual"), make_adapter(tmp_path / "b"))
    for name in expected.tensors:
        assert np.array_equal(whole(source, name.removeprefix("model.")), whole(expected, name)), name


def test_note_when_the_last_layers_are_not_touched(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", layers=4)
    notes = merged(base, make_adapter(tmp_path / "a")).notes
    assert len(notes) == 1
    assert "layers 0 to 1 of 4" in notes[0]
    assert "acme/Tiny-1B" in notes[0]
    assert merged(base, make_adapter(tmp_path / "b", layers_to_transform=[0, 1])).notes == ()
    assert merged(make_base(tmp_path / "two"), make_adapter(tmp_path / "c")).notes == ()


def test_note_when_the_base_has_another_name(tmp_path: Path) -> None:
    def notes(repository: str, trained_on: str) -> tuple[str, ...]:
        base = make_base(tmp_path / repository / "snapshots" / "0123456789")
        return merged(base, make_adapter(tmp_path / "a", base_model_name_or_path=trained_on)).notes

    [note] = notes("models--Qwen--Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B-Instruct")
    assert "trained on Qwen/Qwen2.5-1.5B-Instruct" in note
    assert "is Qwen/Qwen2.5-1.5B" in note
    assert notes("models--Qwen--Qwen2.5-1.5B-Instruct", "qwen/Qwen2.5-1.5B-Instruct") == ()
    assert notes("models--unsloth--Qwen3-0.6B", "unsloth/Qwen3-0.6B-unsloth-bnb-4bit") == ()
    assert notes("models--Qwen--Qwen2.5-1.5B", "local_folder") == ()


# Tied embeddings.


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    return make_base(tmp_path / "tied", tie=True)


def assert_tied(source: MergedSource, embedding: Array) -> None:
    assert source.config["tie_word_embeddings"] is True
    assert f"{HEAD}.weight" not in source.tensors
    np.testing.assert_allclose(whole(source, f"{EMBED}.weight"), embedding, rtol=0, atol=1e-5)


def assert_untied(source: MergedSource, embedding: Array, head: Array) -> None:
    assert source.config["tie_word_embeddings"] is False
    assert source.tensors[f"{HEAD}.weight"] == TensorInfo(f"{HEAD}.weight", "F32", head.shape)
    np.testing.assert_allclose(whole(source, f"{EMBED}.weight"), embedding, rtol=0, atol=1e-5)
    np.testing.assert_allclose(whole(source, f"{HEAD}.weight"), head, rtol=0, atol=1e-5)


SHARED = base_arrays()[f"{EMBED}.weight"]


def test_tied_and_untouched(tied: Path, tmp_path: Path) -> None:
    assert_tied(merged(tied, make_adapter(tmp_path / "a")), SHARED)


def test_tied_without_a_word_in_the_configuration(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", tie=True, tie_word_embeddings=None)
    adapter = lora(HEAD, VOCAB, HIDDEN)
    a, b = adapter.values()
    source = merged(base, make_adapter(tmp_path / "a", adapter))
    assert_untied(source, SHARED, SHARED + np.float32(SCALE) * (b @ a))


def test_adapter_on_the_output_unties(tied: Path, tmp_path: Path) -> None:
    adapter = lora(HEAD, VOCAB, HIDDEN)
    a, b = adapter.values()
    # PEFT saves the frozen weight with it.
    adapter[f"{PREFIX}{HEAD}.base_layer.weight"] = SHARED
    assert_untied(merged(tied, make_adapter(tmp_path / "a", adapter)), SHARED, SHARED + np.float32(SCALE) * (b @ a))


def test_adapter_on_the_embedding_unties(tied: Path, tmp_path: Path) -> None:
    adapter = embedding_lora()
    a, b = adapter.values()
    assert_untied(merged(tied, make_adapter(tmp_path / "a", adapter)), SHARED + np.float32(SCALE) * (b @ a).T, SHARED)


@pytest.mark.parametrize("module", [EMBED, HEAD])
def test_whole_module_unties(module: str, tied: Path, tmp_path: Path) -> None:
    trained = random((VOCAB, HIDDEN), 77)
    source = merged(tied, make_adapter(tmp_path / "a", {f"{PREFIX}{module}.weight": trained}, modules_to_save=[module]))
    assert_untied(source, *((trained, SHARED) if module == EMBED else (SHARED, trained)))


def test_both_trained_alike_stay_tied(tied: Path, tmp_path: Path) -> None:
    trained = random((VOCAB, HIDDEN), 77)
    arrays = {f"{PREFIX}{EMBED}.weight": trained, f"{PREFIX}{HEAD}.weight": trained}
    assert_tied(merged(tied, make_adapter(tmp_path / "a", arrays, modules_to_save=["embed_tokens", HEAD])), trained)
    arrays[f"{PREFIX}{HEAD}.weight"] = trained + 1
    source = merged(tied, make_adapter(tmp_path / "b", arrays, modules_to_save=["embed_tokens", HEAD]))
    assert_untied(source, trained, trained + 1)


def test_ensured_tying(tied: Path, tmp_path: Path) -> None:
    adapter = embedding_lora()
    a, b = adapter.values()
    adapter |= {f"{PREFIX}{HEAD}.lora_A.weight": b.T.copy(), f"{PREFIX}{HEAD}.lora_B.weight": a.T.copy()}
    expected = SHARED + np.float32(SCALE) * (b @ a).T
    assert_tied(merged(tied, make_adapter(tmp_path / "a", adapter, ensure_weight_tying=True)), expected)
    # Another rank or scale for the output, or DoRA, which normalises its rows and the embedding's columns: no tie.
    other = make_adapter(tmp_path / "b", adapter, ensure_weight_tying=True, alpha_pattern={"lm_head": 12})
    assert_untied(merged(tied, other), expected, SHARED + 2 * np.float32(SCALE) * (b @ a).T)


def test_ensured_tying_of_a_whole_module(tied: Path, tmp_path: Path) -> None:
    trained = random((VOCAB, HIDDEN), 77)
    config = {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
    for number, names in enumerate(((EMBED,), (EMBED, HEAD))):
        arrays = {f"{PREFIX}{name}.weight": trained for name in names}
        assert_tied(merged(tied, make_adapter(tmp_path / str(number), arrays, **config)), trained)


def test_flag_without_the_outputs_copy_ties_nothing(tied: Path, tmp_path: Path) -> None:
    """PEFT 0.18 knew the flag for whole modules only."""
    adapter = embedding_lora()
    a, b = adapter.values()
    source = merged(tied, make_adapter(tmp_path / "a", adapter, ensure_weight_tying=True))
    assert_untied(source, SHARED + np.float32(SCALE) * (b @ a).T, SHARED)


def test_pair_that_was_separated_before_training(tied: Path, tmp_path: Path) -> None:
    adapter = lora(HEAD, VOCAB, HIDDEN)
    a, b = adapter.values()
    embedding, head = random((VOCAB, HIDDEN), 5), random((VOCAB, HIDDEN), 6)
    adapter |= {f"{PREFIX}{EMBED}.weight": embedding, f"{PREFIX}{HEAD}.base_layer.weight": head}
    source = merged(tied, make_adapter(tmp_path / "a", adapter))
    assert_untied(source, embedding, head + np.float32(SCALE) * (b @ a))


def test_token_rows_follow_the_tie(tied: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    expected = SHARED.copy()
    expected[[1, 2]] = random((2, HIDDEN), 5)
    for number, indices in enumerate(([1, 2], {"embed_tokens": [1, 2], "lm_head": [1, 2]})):
        folder = make_adapter(tmp_path / str(number), {name: random((2, HIDDEN), 5)}, trainable_token_indices=indices)
        assert_tied(merged(tied, folder), expected)


def test_token_rows_of_their_own_untie(tied: Path, tmp_path: Path) -> None:
    ending = "token_adapter.trainable_tokens_delta"
    arrays = {
        f"{PREFIX}{EMBED}.{ending}": random((2, HIDDEN), 5),
        f"{PREFIX}{HEAD}.{ending}": random((1, HIDDEN), 6),
    }
    embedding, head = SHARED.copy(), SHARED.copy()
    embedding[[1, 2]], head[[4]] = arrays.values()
    indices = {"embed_tokens": [1, 2], "lm_head": [4]}
    assert_untied(merged(tied, make_adapter(tmp_path / "a", arrays, trainable_token_indices=indices)), embedding, head)


def test_stored_copy_of_the_output_does_not_stay_behind(tmp_path: Path) -> None:
    stale = base_arrays(tie=True) | {f"{HEAD}.weight": random((VOCAB, HIDDEN), 99)}
    base = make_base(tmp_path / "base", stale, tie=True)
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    tokens = make_adapter(tmp_path / "t", {name: random((1, HIDDEN), 5)}, trainable_token_indices=[3])
    source = merged(base, tokens)
    assert np.array_equal(whole(source, f"{HEAD}.weight"), whole(source, f"{EMBED}.weight"))
    # And where the adapter unties them, the output is the shared weight, as transformers would have loaded it.
    assert np.array_equal(whole(merged(base, make_adapter(tmp_path / "e", embedding_lora())), f"{HEAD}.weight"), SHARED)


# Vocabularies.


@pytest.mark.parametrize("rows", [VOCAB + 5, VOCAB - 3])
def test_resized_vocabulary(rows: int, base: Path, tmp_path: Path) -> None:
    embedding, head = random((rows, HIDDEN), 5), random((rows, HIDDEN), 6)
    arrays = {f"{PREFIX}{EMBED}.weight": embedding, f"{PREFIX}{HEAD}.weight": head}
    for name, saved in (("whole", ["embed_tokens", "lm_head"]), ("frozen", None)):
        source = merged(base, make_adapter(tmp_path / name, lora_arrays() | arrays, modules_to_save=saved))
        assert source.config["vocab_size"] == rows
        assert source.tensors[f"{EMBED}.weight"].shape == (rows, HIDDEN)
        assert np.array_equal(whole(source, f"{EMBED}.weight"), embedding)
        assert np.array_equal(whole(source, f"{HEAD}.weight"), head)


def test_resized_tied_vocabulary(tied: Path, tmp_path: Path) -> None:
    resized = random((VOCAB + 4, HIDDEN), 5)
    arrays = {f"{PREFIX}{EMBED}.weight": resized, f"{PREFIX}{HEAD}.weight": resized}
    source = merged(tied, make_adapter(tmp_path / "a", lora_arrays() | arrays))
    assert_tied(source, resized)
    assert source.config["vocab_size"] == VOCAB + 4


def test_adapted_embedding_of_a_resized_vocabulary(tied: Path, tmp_path: Path) -> None:
    resized = random((VOCAB + 4, HIDDEN), 5)
    adapter = embedding_lora(rows=VOCAB + 4)
    a, b = adapter.values()
    adapter[f"{PREFIX}{EMBED}.base_layer.weight"] = resized
    source = merged(tied, make_adapter(tmp_path / "a", adapter))
    assert_untied(source, resized + np.float32(SCALE) * (b @ a).T, resized)
    assert source.config["vocab_size"] == VOCAB + 4


# What does not fit.


@pytest.mark.bad_input("adapter of a deeper model")
def test_more_layers(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", lora_arrays(layers=5))
    message = refused(base, [folder], AdapterMismatchError, str(folder), "layers.2.self_attn.q_proj", "acme/Tiny-1B")
    assert "and 3 more" in message
    assert "layers 2" in message


@pytest.mark.bad_input("adapter of a wider model")
def test_other_hidden_size(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", lora_arrays(hidden=16))
    message = refused(base, [folder], AdapterMismatchError, f"{Q0} is [16, 16]", "[8, 8]", "acme/Tiny-1B")
    assert "hidden size 8" in message


@pytest.mark.bad_input("adapter of another architecture")
def test_other_names(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", lora("transformer.h.0.attn.c_attn", HIDDEN, HIDDEN))
    refused(base, [folder], AdapterMismatchError, "transformer.h.0.attn.c_attn.lora_A.weight")


@pytest.mark.bad_input("adapted embedding of another vocabulary")
def test_embedding_of_another_vocabulary(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", embedding_lora(rows=VOCAB + 3))
    refused(base, [folder], AdapterMismatchError, EMBED, str(VOCAB + 3), str(VOCAB))


@pytest.mark.bad_input("trained token outside of the vocabulary")
def test_token_outside(base: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    folder = make_adapter(tmp_path / "a", {name: random((1, HIDDEN), 5)}, trainable_token_indices=[VOCAB])
    refused(base, [folder], AdapterMismatchError, name, f"token {VOCAB}")


@pytest.mark.bad_input("rows of trained tokens do not match their ids")
def test_token_rows_of_another_number(base: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    folder = make_adapter(tmp_path / "a", {name: random((2, HIDDEN), 5)}, trainable_token_indices=[3])
    refused(base, [folder], AdapterMismatchError, name)


@pytest.mark.bad_input("resized embedding without its output")
@pytest.mark.parametrize("tie", [True, False])
def test_vocabulary_of_two_sizes(tie: bool, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", tie=tie)
    arrays = {f"{PREFIX}{EMBED}.weight": random((VOCAB + 1, HIDDEN), 5)}
    folder = make_adapter(tmp_path / "a", arrays, modules_to_save=["embed_tokens"])
    refused(base, [folder], AdapterMismatchError, str(folder), f"{VOCAB + 1} rows", f"{VOCAB} rows")


@pytest.mark.bad_input("whole module of another shape")
@pytest.mark.parametrize("name", ["model.norm", HEAD, "model.layers.0.mlp.down_proj"])
def test_whole_module_of_another_shape(name: str, base: Path, tmp_path: Path) -> None:
    arrays = {f"{PREFIX}{name}.weight": random((VOCAB, HIDDEN + 1), 5)}
    folder = make_adapter(tmp_path / "a", arrays, modules_to_save=[name])
    refused(base, [folder], AdapterMismatchError, f"{name}.weight", str([VOCAB, HIDDEN + 1]))


@pytest.mark.bad_input("bias for a layer that has none")
def test_no_bias_in_the_base(base: Path, tmp_path: Path) -> None:
    adapter = lora(Q0, HIDDEN, HIDDEN) | {f"{PREFIX}{Q0}.lora_B.bias": random((HIDDEN,), 1)}
    refused(base, [make_adapter(tmp_path / "a", adapter, lora_bias=True)], AdapterMismatchError, "lora_B.bias", "bias")


@pytest.mark.bad_input("magnitudes of another length")
def test_magnitudes_of_another_length(base: Path, tmp_path: Path) -> None:
    module = "model.layers.0.mlp.down_proj"
    name = f"{PREFIX}{module}.lora_magnitude_vector"
    adapter = lora(module, HIDDEN, WIDE) | {name: random((WIDE,), 1)}
    refused(base, [make_adapter(tmp_path / "a", adapter, use_dora=True)], AdapterMismatchError, name)


@pytest.mark.bad_input("NaN or infinity in the adapter")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float, base: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{Q0}.lora_B.weight"
    adapter = lora_arrays()
    adapter[name][5, 2] = value
    refused(base, [make_adapter(tmp_path / "a", adapter)], NonFiniteError, "adapter_model.safetensors", name)


@pytest.mark.bad_input("two adapters replace the same module")
def test_two_replacements(base: Path, tmp_path: Path) -> None:
    folders = [
        make_adapter(
            tmp_path / str(seed), {f"{PREFIX}{HEAD}.weight": random((VOCAB, HIDDEN), seed)}, modules_to_save=[HEAD]
        )
        for seed in (1, 2)
    ]
    refused(base, folders, AdapterKindError, f"{HEAD}.weight", *map(str, folders))
    same = [
        folders[0],
        make_adapter(tmp_path / "c", {f"{PREFIX}{HEAD}.weight": random((VOCAB, HIDDEN), 1)}, modules_to_save=[HEAD]),
    ]
    assert np.array_equal(whole(merged(base, *same), f"{HEAD}.weight"), random((VOCAB, HIDDEN), 1))


@pytest.mark.bad_input("one adapter replaces what another adds to")
def test_replacement_and_sum(base: Path, tmp_path: Path) -> None:
    whole_head = make_adapter(
        tmp_path / "a", {f"{PREFIX}{HEAD}.weight": random((VOCAB, HIDDEN), 1)}, modules_to_save=[HEAD]
    )
    low_rank = make_adapter(tmp_path / "b", lora(HEAD, VOCAB, HIDDEN))
    refused(base, [low_rank, whole_head], AdapterKindError, f"{HEAD}.weight", str(whole_head), str(low_rank))


@pytest.mark.bad_input("weight for a change that is no sum")
@pytest.mark.parametrize("kind", ["trained", "token rows", "DoRA"])
def test_weighted_replacement(kind: str, base: Path, tmp_path: Path) -> None:
    tokens = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    magnitude = {f"{PREFIX}{Q0}.lora_magnitude_vector": np.ones(HIDDEN, dtype=np.float32)}
    arrays, config = {
        "trained": ({f"{PREFIX}{HEAD}.weight": random((VOCAB, HIDDEN), 1)}, {"modules_to_save": [HEAD]}),
        "token rows": ({tokens: random((1, HIDDEN), 1)}, {"trainable_token_indices": [1]}),
        "DoRA": (lora(Q0, HIDDEN, HIDDEN) | magnitude, {"use_dora": True}),
    }[kind]
    refused(base, [(make_adapter(tmp_path / "a", arrays, **config), 0.5)], AdapterKindError, "0.5", kind)


@pytest.mark.bad_input("DoRA together with another adapter")
def test_dora_and_another(base: Path, tmp_path: Path) -> None:
    magnitude = {f"{PREFIX}{Q0}.lora_magnitude_vector": np.ones(HIDDEN, dtype=np.float32)}
    dora = make_adapter(tmp_path / "a", lora(Q0, HIDDEN, HIDDEN) | magnitude, use_dora=True)
    refused(base, [dora, make_adapter(tmp_path / "b")], AdapterKindError, f"{Q0}.weight", "DoRA")


@pytest.mark.bad_input("two adapters trained the same token")
def test_same_token_twice(base: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    folders = [
        make_adapter(tmp_path / str(n), {name: random((2, HIDDEN), n)}, trainable_token_indices=[n, 7]) for n in (1, 2)
    ]
    refused(base, folders, AdapterKindError, f"{EMBED}.weight", "token 7")


@pytest.mark.bad_input("token rows of a tied embedding whose output is changed too")
def test_tied_tokens_and_output(tied: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}{EMBED}.token_adapter.trainable_tokens_delta"
    arrays = lora(HEAD, VOCAB, HIDDEN) | {name: random((1, HIDDEN), 1)}
    refused(
        tied, [make_adapter(tmp_path / "a", arrays, trainable_token_indices=[1])], AdapterKindError, f"{HEAD}.weight"
    )


@pytest.mark.bad_input("weight of an adapter that is no number")
@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weight_that_is_no_number(weight: float, base: Path, tmp_path: Path) -> None:
    refused(base, [(make_adapter(tmp_path / "a"), weight)], UsageError, str(tmp_path / "a"))


class Quantised:
    """A base whose weights a GGUF holds in blocks."""

    description = "tiny-Q4_K.gguf"

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.config: Mapping[str, Any] = {"model_type": "llama", "num_hidden_layers": 2}
        self.tensors = {name: TensorInfo(name, "Q4_K", array.shape) for name, array in arrays.items()}

    def read(self, name: str, start: int, stop: int) -> Array:
        return self.arrays[name][start:stop].copy()

    def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.bad_input("rounding to a type that holds no single values")
def test_no_rounding_to_blocks(tmp_path: Path) -> None:
    adapter = open_adapter(make_adapter(tmp_path / "a"))
    with pytest.raises(UnknownTypeError, match="Q4_K") as caught:
        MergedSource(Quantised(base_arrays()), [(adapter, 1.0)], dtype="base")
    assert caught.value.code == "unknown-type"
    source = MergedSource(Quantised(base_arrays()), [(adapter, 1.0)])
    assert not np.array_equal(whole(source, f"{Q0}.weight"), base_arrays()[f"{Q0}.weight"])


@pytest.mark.bad_input("foreign adapter trained on a quantised copy")
def test_hint_of_the_base_to_use(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(
        tmp_path / "a", lora_arrays(hidden=16), base_model_name_or_path="unsloth/Qwen2.5-1.5B-bnb-4bit"
    )
    with pytest.raises(AdapterMismatchError) as caught:
        merged(base, folder)
    assert "unsloth/Qwen2.5-1.5B" in (caught.value.hint or "")


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_adapters_in_half_precision(dtype: str, base: Path, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a")
    save_tensors(folder / "adapter_model.safetensors", lora_arrays(), dtype)
    expected = whole(merged(base, make_adapter(tmp_path / "f32")), f"{Q0}.weight")
    np.testing.assert_allclose(whole(merged(base, folder), f"{Q0}.weight"), expected, rtol=0, atol=0.1)
