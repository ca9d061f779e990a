"""Chat templates: Jinja as transformers renders it, Go as Ollama renders it, and whether both say the same."""
