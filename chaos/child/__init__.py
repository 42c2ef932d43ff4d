"""Code that runs inside a target's process: standard library only."""
