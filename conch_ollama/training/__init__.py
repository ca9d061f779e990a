"""What training with LLaMA-Factory needs before and after: samples, a base folder, a cleaned adapter.

Training itself is LLaMA-Factory's; see docs/training.md.
"""
