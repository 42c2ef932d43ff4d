"""Events as JSON to a web address. Apart from `sinks.py`, since the library for it takes long to load."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, final

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.reliability.telemetry.events import Event

__all__ = ["WebhookSink"]


@final
class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that sends elsewhere is a failure: a redirected POST would arrive as an empty GET."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Follow none."""
        return


@final
class WebhookSink:
    """Sends each batch as `{"events": [...]}` in one POST; any answer but 2xx is a failure, and the batch comes again.

    The header `Idempotency-Key` names the batch by its last event.

    Args:
        url: http or https.
        timeout_s: for the whole exchange's single steps, in seconds.
        headers: sent along, such as an authorisation.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError(f"a webhook has an http or https address, not {url!r}")
        if not 0 < timeout_s < 1e6:
            raise ConfigurationError(f"timeout_s is above 0 and finite, not {timeout_s}")
        self._url = url
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})
        self._opener = urllib.request.build_opener(_NoRedirect)

    def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`.

        Raises:
            StorageError: it did not arrive.
        """
        body = json.dumps({"events": [event.plain() for event in events]}).encode()
        headers = {**self._headers, "Content-Type": "application/json", "Idempotency-Key": events[-1].id}
        headers = {name: value.encode("ascii", "backslashreplace").decode() for name, value in headers.items()}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                pass
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise StorageError(f"{self._url} did not take {len(events)} events: {error}") from error
