"""The stops that Ollama's detection sets along with a stock TEMPLATE when a model is created from a bare GGUF.

Facts of Ollama's template/*.json (v0.9.3; unchanged later). The choice among them is by edit distance, so a model can
get those of another family.
"""

from __future__ import annotations

from collections.abc import Iterable

STOCK_STOPS: dict[str, tuple[str, ...]] = {
    "alfred": ("<start_system>", "<end_message>", "<start_user>", "<start_assistant>"),
    "alpaca": ("###Instruction:", "###Response"),
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "chatqa": ("System:", "User:", "Assistant:", "<|begin_of_text|>"),
    "codellama-70b-instruct": ("Source:", "Destination:", "<step>"),
    "command-r": ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    "falcon-instruct": ("User:", "Assistant:"),
    "gemma-instruct": ("<start_of_turn>", "<end_of_turn>"),
    "gemma3-instruct": ("<end_of_turn>",),
    "granite-instruct": ("System:", "Question:", "Answer:"),
    "llama2-chat": ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    "llama3-instruct": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "magicoder": ("@@Instruction", "@@Response"),
    "mistral-instruct": ("<|im_start|>", "<|im_end|>"),
    "openchat": ("<|end_of_turn|>",),
    "phi-3": ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>"),
    "solar-instruct": ("###System:", "###User:", "###Assistant"),
    "starcoder2-instruct": ("###Instruction", "###Response", "<|endoftext|>"),
    "vicuna": ("USER:", "ASSISTANT:"),
    "zephyr": ("<|system|>", "</s>", "<|user|>", "<|assistant|>"),
}


def detected_stops(stops: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(family, stop) for every one of `stops` that belongs to a stock family all of whose stops are there."""
    given = set(stops)
    found: dict[str, str] = {}
    for family, stock in STOCK_STOPS.items():
        if given.issuperset(stock):
            for stop in stock:
                found.setdefault(stop, family)
    return tuple((family, stop) for stop, family in found.items())
