"""Mistral (7B, Nemo, Small): Llama's tensors under another model_type.

llama.cpp's llama architecture has no sliding window, so an active one is refused.
"""

from __future__ import annotations

from dataclasses import replace

from conch_ollama.architectures import decoder, llama
from conch_ollama.architectures.config_keys import integer, present, refuse
from conch_ollama.architectures.rules import Config
from conch_ollama.formats.metadata import Metadata

TRAITS = replace(llama.TRAITS, key_value_heads=8, known=llama.TRAITS.known | {"sliding_window"})
#: transformers' default where the key is missing (not where it is null).
DEFAULT_SLIDING_WINDOW = 4096


def metadata(config: Config) -> Metadata:
    """The `llama.*` keys; `UnhandledConfigError` for a window shorter than the context."""
    found = llama.metadata(config, TRAITS)
    if "sliding_window" not in config or present(config, "sliding_window"):
        window = integer(config, "sliding_window", DEFAULT_SLIDING_WINDOW)
        if window < integer(config, "max_position_embeddings"):
            raise refuse(
                "sliding_window",
                window,
                hint=f'With "sliding_window": null in config.json it is converted, and is right up to {window} tokens.',
            )
    return found


MISTRAL = replace(
    llama.LLAMA,
    model_types=("mistral",),
    metadata=metadata,
    dimensions=lambda config: decoder.dimensions(decoder.read(config, TRAITS)),
    warnings=lambda config: decoder.warnings(config, TRAITS),
)
