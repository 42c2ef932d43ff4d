"""The configuration of hooks: defaults, then a YAML file, then the environment; each value knows where it came from.

The file is `--config`, `$GUARDRAILS_CONFIG` or `~/.claude/guardrails.yaml`, in sections:

    circuit_breaker: {enabled: true, failure_threshold: 3, cooldown_seconds: 300, success_threshold: 2, exclude: []}
    logging: {file: null, level: INFO, format: "%(asctime)s %(levelname)s %(message)s"}
    state_file: ~/.claude/hook_state.json
    state_backend: sqlite

In the environment `circuit_breaker.exclude` is `GUARDRAILS_CIRCUIT_BREAKER_EXCLUDE`, and so on. A value that is wrong
stops the program with an error that names file, line and key (or the variable); it never switches anything off.
Read `config_file.py` for the file.
"""

import os
from collections.abc import Mapping
from importlib import import_module

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.hints import Any, Literal, final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.breakers.config_cache import entries_of
from pytest_guardrails.reliability.breakers.model import BreakerSettings
from pytest_guardrails.reliability.durability import finite_json

__all__ = ["DEFAULTS", "Config", "Setting", "environment_name", "load_config"]

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_SLACK_S = 30.0  # for what a run does around its command, and for ending one that does not hear
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@final
class Setting(Record):
    """One value.

    Attributes:
        value: what holds.
        source: "default", "FILE:LINE" or "$VARIABLE".
    """

    value: Any
    source: str = "default"


DEFAULTS: Mapping[str, Any] = {
    "circuit_breaker.enabled": True,
    "circuit_breaker.failure_threshold": 3,
    "circuit_breaker.cooldown_seconds": 300,
    "circuit_breaker.success_threshold": 2,
    "circuit_breaker.exclude": [],
    "logging.file": None,
    "logging.level": "INFO",
    "logging.format": "%(asctime)s %(levelname)s %(message)s",
    "state_file": "~/.claude/hook_state.json",
    "state_backend": "sqlite",
}
_RANGES = {
    "circuit_breaker.failure_threshold": (1, 100),
    "circuit_breaker.cooldown_seconds": (0, 86_400),
    "circuit_breaker.success_threshold": (1, 100),
}
_CHOICES = {"logging.level": _LEVELS, "state_backend": ("sqlite", "json")}


@final
class Config(Record):
    """What holds.

    Attributes:
        settings: every value, by its key.
        file: the file that was looked at; it need not exist.
    """

    settings: Mapping[str, Setting]
    file: str

    def value(self, key: str) -> Any:
        """The value of a key."""
        return self.settings[key].value

    def breaker(self, longest_run_s: float = 300.0) -> BreakerSettings:
        """How the hooks' breakers decide.

        Args:
            longest_run_s: for how long a hook may run, in seconds; a probe keeps its permit for longer than that.
        """
        return BreakerSettings(
            probe_lease_s=longest_run_s + _SLACK_S,
            failure_threshold=self.value("circuit_breaker.failure_threshold"),
            cooldown_s=float(self.value("circuit_breaker.cooldown_seconds")),
            success_threshold=self.value("circuit_breaker.success_threshold"),
        )

    @property
    def state_file(self) -> str:
        """The document for people, or with the backend json the store itself."""
        path: str = self.value("state_file")
        return os.path.expandvars(os.path.expanduser(path))

    @property
    def state_backend(self) -> Literal["sqlite", "json"]:
        """Where the state lies."""
        found: Literal["sqlite", "json"] = self.value("state_backend")
        return found

    @property
    def log_file(self) -> str | None:
        """Where runs are logged; None for nowhere."""
        path = self.value("logging.file")
        return None if path is None else os.path.expandvars(os.path.expanduser(path))

    def guards(self, command: str) -> bool:
        """Whether the breaker watches this hook: `exclude` names it neither in full nor by a pattern with * and ?."""
        excluded = self.value("circuit_breaker.exclude")
        if not self.value("circuit_breaker.enabled") or command in excluded:
            return False
        # Loaded here, since most have no pattern, and a hook's start is paid at every tool call of an agent.
        return not (excluded and any(import_module("fnmatch").fnmatchcase(command, one) for one in excluded))


def load_config(file: str | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check everything.

    Args:
        file: the configuration file; from the environment or the default place when None.
        environment: the variables; the process's own when None.

    Raises:
        ConfigurationError: a value, a key or the file is wrong; says which, where, and what would be right.
    """
    variables = os.environ if environment is None else environment
    named = file or variables.get("GUARDRAILS_CONFIG")
    path = os.path.abspath(os.path.expanduser(named or "~/.claude/guardrails.yaml"))
    entries = entries_of(path)
    if entries is None and named:
        raise ConfigurationError(f"{path} does not exist: name another configuration file, or `config init` it")
    settings = {key: Setting(value) for key, value in DEFAULTS.items()}
    for key, (value, line) in (entries or {}).items():
        settings[key] = Setting(_checked(key, value, f"{path}:{line}: {key}"), f"{path}:{line}")
    for key in DEFAULTS:
        name = environment_name(key)
        if name in variables:
            settings[key] = Setting(_checked(key, _from_text(key, variables[name]), f"${name}"), f"${name}")
    return Config(settings, path)


def environment_name(key: str) -> str:
    """The variable that sets a key."""
    return "GUARDRAILS_" + key.upper().replace(".", "_")


def _checked(key: str, value: Any, where: str) -> Any:
    default = DEFAULTS[key]
    if key in _RANGES:
        least, most = _RANGES[key]
        whole = key != "circuit_breaker.cooldown_seconds"
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise ConfigurationError(f"{where} must be {kind} from {least} to {most}, not {value!r}")
    elif key in _CHOICES:
        if value not in _CHOICES[key]:
            raise ConfigurationError(f"{where} must be one of {', '.join(_CHOICES[key])}, not {value!r}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigurationError(f"{where} must be true or false, not {value!r}")
    elif isinstance(default, list):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"{where} must be a list of texts, not {value!r}")
    elif not (isinstance(value, str) and value) and value is not default:
        raise ConfigurationError(f"{where} must be a text, not {value!r}")
    elif isinstance(value, str) and not _can_be_named(value):
        raise ConfigurationError(f"{where} must be a text that can name a file, not {value!r}")
    if key == "logging.format":
        _check_format(value, where)
    return value


def _can_be_named(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _check_format(value: str, where: str) -> None:
    try:
        value % {"asctime": "", "levelname": "", "message": "", "name": "", "process": 0}
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{where} may use %(asctime)s, %(levelname)s, %(message)s, %(name)s and %(process)d; "
            f"{value!r} fails: {error}"
        ) from None


def _from_text(key: str, text: str) -> Any:
    """A variable's text as the value it means; what it can't be stays a text, and is refused as such."""
    default = DEFAULTS[key]
    if isinstance(default, bool):
        folded = text.strip().lower()
        return True if folded in _TRUE else False if folded in _FALSE else text
    if isinstance(default, int):
        return _number_of(text)
    if isinstance(default, list):
        if text.lstrip().startswith("["):
            try:
                return finite_json.loads(text)
            except finite_json.JsonRefusedError:
                return text
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _number_of(text: str) -> int | float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "." not in text else number
