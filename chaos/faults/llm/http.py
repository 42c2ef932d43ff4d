"""As much of HTTP/1.1 as an API on loopback needs: requests with a length, answers whole or in chunks.

It knows nothing of models. Read `server.py` next.
"""

import json
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, final

__all__ = ["CHUNK_END", "BadRequest", "Request", "answer", "chunk", "read_request", "stream_head"]

_BODY_LIMIT = 32 << 20
CHUNK_END = b"0\r\n\r\n"


@final
class BadRequest(ValueError):  # noqa: N818 - HTTP's own name for it
    """What came is no request that can be answered; the connection is of no further use.

    Attributes:
        status: what to answer.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


@final
@dataclass(frozen=True, slots=True)
class Request:
    """One request; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used for another one."""
        return self.headers.get("connection", "").lower() != "close"


async def read_request(reader: StreamReader) -> Request | None:
    """The next request of a connection; None when the client has closed it.

    Raises:
        BadRequest: what came is not one.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError:
        return None
    except LimitOverrunError:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long") from None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(HTTPStatus.BAD_REQUEST, f"not an HTTP/1 request: {first[:100]!r}")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await _read_body(reader, headers)
    return None if body is None else Request(words[0], words[1].partition("?")[0], headers, body)


async def _read_body(reader: StreamReader, headers: Mapping[str, str]) -> bytes | None:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdigit():
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "a request needs a Content-Length")
    if int(length) > _BODY_LIMIT:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {_BODY_LIMIT} bytes")
    try:
        return await reader.readexactly(int(length))
    except IncompleteReadError:
        return None


def answer(status: int, body: bytes | Mapping[str, Any], headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer; a mapping is sent as JSON, NaN included, as Python's `json` writes it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {} if isinstance(body, bytes) else {"Content-Type": "application/json"}
    return _head(status, {**kind, "Content-Length": str(len(content)), **(headers or {})}) + content


def stream_head() -> bytes:
    """What comes before a stream of events."""
    return _head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})


def chunk(data: bytes) -> bytes:
    """A piece of a stream."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in {one.value for one in HTTPStatus} else "Error"
