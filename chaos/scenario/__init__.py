"""Scenarios as data: their types, their TOML, and the one runner behind every door."""
