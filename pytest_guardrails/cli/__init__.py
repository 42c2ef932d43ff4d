"""The command `pytest-guardrails`: begins in `__main__.py`, from where `hook run` goes straight to its own room."""
