"""Go's text/template as Ollama uses it: lexer, parser, executor, and the parts of fmt and encoding/json they need.

Written from the package's documentation and behaviour, and compared with the real one in `tests/chat_template`.
Strings are `bytes` in here, because Go's are: `len`, `slice` and `index` count bytes.
"""
