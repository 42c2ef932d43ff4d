"""Stand-in, never committed: the durable branch brings the real one."""

from pytest_guardrails.reliability.durability.atomic import write_atomic

__all__ = ["write_atomic"]
