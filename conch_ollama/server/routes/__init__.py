"""One file for each dialect or concern: what a path does."""
