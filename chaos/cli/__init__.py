"""The command chaos."""
