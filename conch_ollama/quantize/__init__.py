"""Float rows to quantised blocks, and the recipes that give each tensor its type. No I/O."""
