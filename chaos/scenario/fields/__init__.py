"""What a scenario file may say, one module a kind: its keys, and how they become the kind's settings.

Read `pieces.py` for what the kinds share, `explore.py` and `race.py` for theirs, `chaos/scenario/layout.py` for all.
"""
