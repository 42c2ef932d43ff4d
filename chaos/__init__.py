"""The chaos harness: it hurts real programs on purpose and judges what is left of their data."""
