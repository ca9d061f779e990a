"""Compares with LLaMA-Factory; needs an environment of its own."""
