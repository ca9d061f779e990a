"""What runs a model: the embedded llama.cpp worker, Ollama."""
