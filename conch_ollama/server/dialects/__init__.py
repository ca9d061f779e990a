"""The clients' dialects as pure functions: their requests to OpenAI's chat body, its chunks to their answers."""
