"""conch_ollama: what you trained is what you run."""

__version__ = "0.1.0"
