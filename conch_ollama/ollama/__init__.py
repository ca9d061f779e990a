"""Ollama: Modelfile, client, register."""
