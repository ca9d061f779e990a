"""Real parts for the tests: an Ollama server, a small model. Each is fetched once and kept outside the repository."""
