"""What a failure is for calls over HTTP and to language models: a judge for `Breaker`, for any client library.

    breaker = Breaker("api", judge=judge_http)
    answer = breaker.call(client.post, url, json=body)

Exceptions and answers are looked at by their attributes alone (`status_code`, `status`, `code`, `response`, `headers`),
as `requests`, `httpx`, `aiohttp`, `urllib` and the OpenAI client have them. The service failed if it did not answer in
time, could not be reached, or said 408, 425, 429 or 5xx. Any other answer, also "no" (4xx), shows that it works.
A `Retry-After` is honoured. Read `breaker.py` for the calls.
"""

import math
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["judge_http", "retry_after_s", "status_of"]

_TRANSIENT = frozenset({408, 425, 429})  # time-out, too early, too many: the service's trouble, not the request's
_LONGEST_S = 86_400.0  # whoever asks for more than a day is not heard


def judge_http(result: object, error: BaseException | None) -> float | None:
    """None if the service works, else for how many seconds it asked to be left alone; see the module."""
    told = result if error is None else error
    status = status_of(told)
    if status is None:
        return None if error is None or not isinstance(error, Exception) else 0.0
    return retry_after_s(told) if status in _TRANSIENT or status >= 500 else None


def status_of(told: object) -> int | None:
    """The HTTP status that an answer or an exception carries; None if it has none."""
    for holder in (told, getattr(told, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if type(value) is int and 100 <= value <= 599:
                return value
    return None


def retry_after_s(told: object, now: datetime | None = None) -> float:
    """What the header `Retry-After` asks for, in seconds, at most a day; 0 if it is missing or makes no sense.

    Args:
        told: an answer or an exception.
        now: for a header that names a date; the present if not given.
    """
    for holder in (told, getattr(told, "response", None)):
        look_up = getattr(getattr(holder, "headers", None), "get", None)
        value = look_up and (look_up("retry-after") or look_up("Retry-After"))
        if value is not None:
            return _seconds(str(value).strip(), now)
    return 0.0


def _seconds(text: str, now: datetime | None) -> float:
    try:
        found = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        found = (date - (now or datetime.now(timezone.utc))).total_seconds()
    return min(max(0.0, found), _LONGEST_S) if math.isfinite(found) else 0.0
