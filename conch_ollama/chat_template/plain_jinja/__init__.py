"""Other words for a chat template: such as llama.cpp's Jinja, which is not transformers', renders as it should."""
