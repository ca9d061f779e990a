"""Plan an export, then run it in one streaming pass.

(The room is not called `export`: `conch_ollama.export` is the function.)
"""
