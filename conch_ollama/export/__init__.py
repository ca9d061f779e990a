"""Plan an export, then run it in one streaming pass."""
