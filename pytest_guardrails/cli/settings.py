"""`pytest-guardrails config show | validate | init`."""

import os

from pytest_guardrails.cli.edge import print_json, print_table, say
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.config import environment_name, load_config
from pytest_guardrails.reliability.durability import write_atomic

__all__ = ["TEMPLATE", "init_config", "show_config", "validate_config"]

TEMPLATE = """\
# Hooks that fail again and again are left alone for a while. Every value here is the default.
circuit_breaker:
  enabled: true
  failure_threshold: 3     # failures in a row that disable a hook, 1 to 100
  cooldown_seconds: 300    # until it is tried again, 0 to 86400; grows while it goes on failing
  success_threshold: 2     # tries in a row that must succeed, 1 to 100
  exclude: []              # commands that are never disabled; * and ? are patterns

logging:
  file: null               # a line for each run
  level: INFO
  format: "%(asctime)s %(levelname)s %(message)s"

state_file: ~/.claude/hook_state.json
state_backend: sqlite      # or json: then the file above is the store itself
"""


def show_config(file: str | None, *, as_json: bool) -> int:
    """Print every value, and where it comes from."""
    config = load_config(file)
    if as_json:
        print_json({key: {"value": value, "source": source} for key, (value, source) in config.settings.items()})
        return 0
    print_table(
        ("KEY", "VALUE", "FROM", "VARIABLE"),
        [[key, repr(value), source, environment_name(key)] for key, (value, source) in config.settings.items()],
    )
    return 0


def validate_config(file: str | None) -> int:
    """Say that the configuration is right, or what is wrong where."""
    config = load_config(file)
    known = {*map(environment_name, config.settings), "GUARDRAILS_CONFIG"}
    for name in sorted(set(filter(lambda name: name.startswith("GUARDRAILS_"), os.environ)) - known):
        say(f"${name} is no setting; it is ignored")
    say(f"{config.file} {'is right' if os.path.exists(config.file) else 'does not exist: the defaults hold'}")
    return 0


def init_config(file: str | None, *, force: bool) -> int:
    """Write a configuration file with every default in it."""
    path = os.path.abspath(os.path.expanduser(file or os.environ.get("GUARDRAILS_CONFIG", "~/.claude/guardrails.yaml")))
    if os.path.lexists(path) and not force:
        raise ConfigurationError(f"{path} exists: it was left alone; --force replaces it")
    write_atomic(path, TEMPLATE.encode())
    say(f"{path} written")
    return 0
