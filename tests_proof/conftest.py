"""The fixtures of the quick suite, for the longer runs."""

from tests.conftest import ollama_server, smollm2_gguf

__all__ = ["ollama_server", "smollm2_gguf"]
