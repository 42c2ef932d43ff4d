"""Where alerts go: a logger, a file of JSON lines, a webhook, a command. Each raises when it fails; see `alerts.py`."""

import logging
import os
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.health.alerts import Alert
from pytest_guardrails.reliability.health.levels import Level

__all__ = ["to_command", "to_file", "to_log", "to_webhook"]

_LOGGED = {
    Level.HEALTHY: logging.INFO,
    Level.DEGRADED: logging.WARNING,
    Level.UNKNOWN: logging.WARNING,
    Level.CRITICAL: logging.ERROR,
}


def to_log(logger: logging.Logger) -> Callable[[Alert], None]:
    """A line in a log."""

    def send(alert: Alert) -> None:
        text = "%s is %s (was %s): %s"
        logger.log(_LOGGED[alert.level], text, alert.key, alert.level.word, alert.before.word, alert.message)

    return send


def to_file(path: str | os.PathLike[str]) -> Callable[[Alert], None]:
    """A line of JSON at the end of a file; one write each, so that several processes may share it."""

    def send(alert: Alert) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, _json_of(alert) + b"\n")
        finally:
            os.close(descriptor)

    return send


def to_webhook(url: str, *, timeout_s: float = 5.0) -> Callable[[Alert], None]:
    """A POST of JSON to an http or https address.

    Raises:
        ConfigurationError: it is another kind of address.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"a webhook has an http or https address, not {url!r}")

    def send(alert: Alert) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, _json_of(alert), headers)  # noqa: S310 - the scheme was checked
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - as above
            answer.read()

    return send


def to_command(command: Sequence[str], *, timeout_s: float = 30.0) -> Callable[[Alert], None]:
    """A command, without a shell, that gets the alert as JSON on its standard input; not 0 is a failure."""
    if not command:
        raise ConfigurationError("a command has at least one word")

    def send(alert: Alert) -> None:
        subprocess.run(list(command), input=_json_of(alert), capture_output=True, timeout=timeout_s, check=True)

    return send


def _json_of(alert: Alert) -> bytes:
    plain = alert.plain()
    texts = {name: finite_json.printable(plain[name]) for name in ("key", "message")}
    return finite_json.dumps({**plain, **texts}).encode()
