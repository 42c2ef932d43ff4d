"""Tests of what runs inside a target's process."""
