"""The run folder and what is shown from it."""
