"""The version, in the one place where it stands. Imports nothing."""

__version__ = "0.1.0"
