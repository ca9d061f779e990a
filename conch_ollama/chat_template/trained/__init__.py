"""The prompts that LLaMA-Factory trains on, by the name of its `template:`; not what the tokenizer's Jinja says."""
