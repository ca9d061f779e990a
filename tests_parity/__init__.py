"""Parity with transformers and PEFT: a suite of its own, which needs torch. Run: `pytest tests_parity`."""
