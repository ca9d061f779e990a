"""Bytes on disk: safetensors slices and GGUF files. Knows nothing of models."""
