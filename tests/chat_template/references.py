"""The models' own chat templates that the tests hold TEMPLATEs against (see templates/README.md)."""

from __future__ import annotations

from pathlib import Path

from conch_ollama.chat_template.jinja import JinjaTemplate

FOLDER = Path(__file__).parent / "templates"

#: name of the file -> (family it must match, BOS text, whether a GGUF of it usually has add_bos_token)
REFERENCES = {
    "chatml": ("chatml", "", False),
    "smollm2": ("smollm2", "<|im_start|>", False),
    "qwen2.5": ("qwen2.5", "", False),
    "qwen3": ("qwen3", "", False),
    "deepseek-r1-distill": ("deepseek-r1-distill", "<｜begin▁of▁sentence｜>", True),
    "deepseek-v3": ("deepseek-v3", "<｜begin▁of▁sentence｜>", True),
    "llama3": ("llama3", "<|begin_of_text|>", True),
    "refusing": ("chatml", "<s>", True),
}


def source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def reference(name: str, bos: str = "") -> JinjaTemplate:
    return JinjaTemplate(source(name), bos_token=bos)
