"""Races between processes, steered: every participant is held at its calls and released in a chosen order.

Read `policies.py` for the orders, `moves.py` for what a participant may be held at, `episode.py` for one episode,
`stage.py` for where it is played, `exploring.py` and `bounded.py` for the search, `shrinking.py` for the smallest
schedule.
"""
