"""The names of all settings, for those who need no more of them. Read `config.py` for what they mean."""

__all__ = ["KEYS", "SECTIONS"]

KEYS = (
    "circuit_breaker.enabled",
    "circuit_breaker.failure_threshold",
    "circuit_breaker.cooldown_seconds",
    "circuit_breaker.success_threshold",
    "circuit_breaker.exclude",
    "logging.file",
    "logging.level",
    "logging.format",
    "state_file",
    "state_backend",
)
SECTIONS = frozenset(key.split(".")[0] for key in KEYS if "." in key)
