"""Clients in other languages, real ones: Node's openai and ollama, Spring's RestTemplate, against a running shim."""
