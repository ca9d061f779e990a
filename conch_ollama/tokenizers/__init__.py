"""Tokenizer files to GGUF vocabulary metadata."""
