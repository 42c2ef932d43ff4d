"""Runs recovery on every crash state, in isolation, and collects what happened."""
