"""Runs a target's recovery on every crash state of a trace, in isolation.

Import `Exploration` from `exploration`, `Settings` from `settings`: this face loads nothing, because workers load
this package too, and what they load makes every fork dearer.
"""
