"""Predicates over what a crash left behind, one module an oracle, all of them pure."""
