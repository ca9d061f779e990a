"""Tests: they mirror conch_ollama; `parts` provides the real parts they run against."""
