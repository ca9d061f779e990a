"""Small byte-level BPE tokenizers, trained here, that split as the families' own do."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

#: The split patterns of Llama 3's and Qwen2's tokenizer.json.
PATTERNS = {
    "llama": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "qwen": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
}
#: What the vocabulary is learnt from.
TEXTS = (
    "请问你是谁？我是神奇海螺，美味蟹堡店的吉祥物。你叫什么名字？怎么修复这个报错？今天天气怎么样？",
    "You are what you've been told. They'll say it's the burger machine, and I'm sure he'd like one, don't you?",
    "Привет, мир! Как дела? مرحبا بالعالم! สวัสดีครับ नमस्ते दुनिया 안녕하세요 こんにちは、世界。カタカナ",
    "def f(x: int) -> str:\n    return str(x)\n\nfor i in range(10):\n\tprint(i, 3.14, 1234567)\n",
    "😀👨\u200d👩\u200d👧❤️ café naïve Zürich ½ ² ™ ∑ √ €100 -- === ... !!! ???",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_tokenizer(folder: Path, model_type: str, *, size: int = 640) -> Path:
    """Train and save `tokenizer.json` and `tokenizer_config.json` for a model_type into `folder`, which is returned."""
    family = "qwen" if model_type.startswith("qwen") else "llama"
    tokenizer = Tokenizer(models.BPE())
    if family == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERNS[family]), "isolated", invert=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
