"""Tests of conch_ollama.ollama, against a real Ollama."""
