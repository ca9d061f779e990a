"""Learns a Jinja chat template by probing it and writes a Go TEMPLATE for Ollama. Proves nothing: see `prove.py`."""
