"""A fake LLM: an OpenAI-compatible API over real HTTP on loopback, that does what its script says.

    with FakeLLM("Hello.", Turn(trouble=Trouble.RATE_LIMIT), then="again") as llm:
        client = openai.OpenAI(base_url=llm.url, api_key="fake")
        ...
        llm.journal()[0].messages

It answers chat completions (streamed and not), embeddings, and the list of models. Each request but those for models
takes the next turn of the script; a request that the API would refuse takes none, and gets status 400. Read
`chaos/faults/llm_script.py` for what can be scripted.
"""

import contextlib
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NoReturn, final

from chaos.errors import UsageError, is_usage
from chaos.faults.feedback import Feedback
from chaos.faults.llm import answers
from chaos.faults.llm.http import CHUNK_END, BadRequest, Request, answer, chunk, read_request, stream_head
from chaos.faults.llm.journal import Exchange, Journal, LLMStatistics, Outcome
from chaos.faults.llm_script import Script, Step, Then, Trouble, Turn, script_of, steps
from chaos.faults.network.loopback import HOST, Loopback, reset

__all__ = ["FakeLLM"]

# In a test that gave a wrong value, pytest shows the line of the test.
__tracebackhide__ = is_usage

_CHAT, _EMBEDDINGS, _MODELS = "/chat/completions", "/embeddings", "/models"
_METHODS = {_CHAT: "POST", _EMBEDDINGS: "POST", _MODELS: "GET"}
_NEEDED = {_CHAT: "messages", _EMBEDDINGS: "input", _MODELS: ""}
_PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>\n"
_LARGEST_DIMENSIONS = 10_000
_DONE = b"data: [DONE]\n\n"
_ERRORS = {
    Trouble.RATE_LIMIT: (429, "Rate limit reached, please try again later.", "rate_limit_error", "rate_limit_exceeded"),
    Trouble.NO_MONEY: (429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
}


@final
class FakeLLM:
    """The server; use it as a context manager, or `close` it.

    Guarantees: listens on 127.0.0.1 alone; the same requests in the same order get the same answers; after `close` no
    thread and no socket of it is left. Threads: every method from any. Forks: it does not run in a child.

    Attributes:
        port: the port that the system chose.
        url: what clients take as base URL.
        played: whether it was ever given a script.
    """

    def __init__(self, *turns: Turn | Feedback | str, then: Then | str = Then.END) -> None:
        """Start it.

        Args:
            turns: what happens to request after request; a text stands for a turn that says it.
            then: what happens when they are over: "end", "last" or "again".

        Raises:
            UsageError: the script makes no sense.
        """
        self._api = _Api(script_of(*turns, then=then))
        self._loopback = Loopback("fake LLM", self._api.serve)
        self.played = bool(turns)
        self.port = self._loopback.port
        self.url = f"http://{HOST}:{self.port}/v1"

    def __enter__(self) -> "FakeLLM":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What to put into a program's environment so that the official client finds this server."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "fake"}

    def environment_at(self, port: int) -> dict[str, str]:
        """The same where something on loopback stands in front of it: a proxy."""
        return {**self.environment, "OPENAI_BASE_URL": f"http://{HOST}:{port}/v1"}

    def play(self, *turns: Turn | Feedback | str, then: Then | str = Then.END) -> None:
        """Go on with another script; requests that are held stay so.

        Raises:
            UsageError: the script makes no sense, or there is none.
        """
        if not turns:
            raise UsageError("play takes at least one turn", 'such as play("First answer.")')
        self.follow(steps(script_of(*turns, then=then)))

    def follow(self, following: Iterator[Step]) -> None:
        """Go on with these steps."""
        self.played = True

        async def change() -> None:
            self._api.steps = following

        self._loopback.call(change)

    def journal(self) -> tuple[Exchange, ...]:
        """All requests until now, and what became of them."""
        return self._api.journal.read()

    def statistics(self) -> LLMStatistics:
        """Counts of now."""
        return self._api.journal.statistics()

    def wait_requests(self, count: int, *, deadline_s: float = 30.0) -> tuple[Exchange, ...]:
        """Block until so many requests have come, and return all.

        Raises:
            NotMeasured: they did not come in time.
        """
        return self._api.journal.wait_requests(count, deadline_s)

    def close(self) -> None:
        """Close every connection, also those that are stalled, and stop."""
        self._loopback.close()


@final
class _Hold(Exception):  # noqa: N818 - an instruction, no malfunction
    """Nothing more is sent on this connection."""


@final
class _Drop(Exception):  # noqa: N818 - likewise
    """The connection is reset."""


@final
class _Api:
    """The part that lives in the server's thread."""

    def __init__(self, script: Script) -> None:
        self.journal = Journal()
        self.steps: Iterator[Step] = steps(script)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while (request := await read_request(reader)) is not None:
                await self._answer(request, reader, writer)
                if not request.keeps_alive:
                    return
        except BadRequest as error:
            writer.write(answer(error.status, answers.error(error.message, "invalid_request_error", None)))
            writer.write_eof()
            await _wait_gone(
                reader
            )  # to close with bytes unread would be a reset, and the client would not see the answer
        except _Drop:
            reset(writer)

    async def _answer(self, request: Request, reader: StreamReader, writer: StreamWriter) -> None:
        path = request.path.removeprefix("/v1")
        status, body = _understood(request, path)
        if status is not HTTPStatus.OK:
            writer.write(answer(status, body))
            await writer.drain()
            return
        number = self.journal.begin(path, body)
        try:
            await self._send(number, path, body, writer)
        except _Hold:
            await _wait_gone(reader)
            self.journal.note(number, outcome=Outcome.LEFT)
        except _Drop:
            self.journal.note(number, outcome=Outcome.DROPPED)
            raise
        except ConnectionError:
            self.journal.note(number, outcome=Outcome.LEFT)
            raise

    async def _send(self, number: int, path: str, body: Mapping[str, Any], writer: StreamWriter) -> None:
        if path == _MODELS:
            await self._whole(number, writer, 200, answers.models())
            return
        step = next(self.steps, None)
        if step is None:
            self.journal.overran()
            error = answers.error("the fake LLM's script is over", "invalid_request_error", "script_ended")
            await self._whole(number, writer, 400, error)
            return
        trouble = step.turn.trouble
        self.journal.note(number, trouble=trouble.value if trouble else "", said=step.text)
        if trouble is Trouble.TIMEOUT:
            raise _Hold
        if trouble is Trouble.DROP and not step.turn.chunks_first:
            raise _Drop
        if trouble in (Trouble.RATE_LIMIT, Trouble.NO_MONEY, Trouble.STATUS):
            await self._refuse(number, step.turn, writer)
        elif path == _CHAT and body.get("stream"):
            self.journal.note(number, status=200)
            await self._stream(number, step, answers.chunks(number, step, body), writer)
        else:
            made = answers.completion(number, step, body) if path == _CHAT else answers.embeddings(step, body)
            await self._plain(number, step, made, writer)

    async def _refuse(self, number: int, turn: Turn, writer: StreamWriter) -> None:
        assert turn.trouble is not None
        known = _ERRORS.get(turn.trouble)
        status, message, kind, code = known or (turn.status, f"scripted status {turn.status}", "server_error", None)
        headers = {} if turn.wait_s is None else {"Retry-After": f"{turn.wait_s:g}"}
        await self._whole(number, writer, status, answers.error(message, kind, code), headers)

    async def _plain(self, number: int, step: Step, made: Mapping[str, Any], writer: StreamWriter) -> None:
        trouble = step.turn.trouble
        if trouble is Trouble.INVALID_JSON:
            await self._whole(number, writer, 200, _PAGE, {"Content-Type": "application/json"})
            return
        if trouble is Trouble.TRUNCATED_JSON:
            half = json.dumps(made).encode()
            await self._whole(number, writer, 200, half[: len(half) // 2], {"Content-Type": "application/json"})
            return
        if trouble not in (Trouble.STALL, Trouble.DROP):
            await self._whole(number, writer, 200, made)
            return
        self.journal.note(number, status=200)
        head, end, content = answer(200, made).partition(b"\r\n\r\n")
        await _write(writer, head + end + content[: len(content) // 2] if step.turn.chunks_first else b"")
        _give_up(trouble)

    async def _stream(self, number: int, step: Step, pieces: Iterator[Mapping[str, Any]], writer: StreamWriter) -> None:
        trouble = step.turn.trouble
        await _write(writer, stream_head())
        for sent, piece in enumerate(pieces):
            event = b"data: %s\n\n" % json.dumps(piece).encode()
            if trouble in (Trouble.STALL, Trouble.DROP) and sent == step.turn.chunks_first:
                _give_up(trouble)
            if sent == 1 and trouble is Trouble.INVALID_JSON:
                event = b"data: %s\n\n" % _PAGE.strip()
            if sent == 1 and trouble is Trouble.TRUNCATED_JSON:
                await self._last(number, writer, chunk(event[: len(event) // 2] + b"\n\n") + CHUNK_END)
                return
            await _write(writer, chunk(event))
        if trouble in (Trouble.STALL, Trouble.DROP):  # the stream was shorter than the script thought
            _give_up(trouble)
        await self._last(number, writer, chunk(_DONE) + CHUNK_END)

    async def _whole(
        self,
        number: int,
        writer: StreamWriter,
        status: int,
        body: bytes | Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.journal.note(number, status=status)
        await self._last(number, writer, answer(status, body, {**(headers or {}), "X-Request-Id": f"req_{number}"}))

    async def _last(self, number: int, writer: StreamWriter, data: bytes) -> None:
        """Send what ends an answer; noted first, since the client may be the quicker one to tell of it."""
        self.journal.note(number, outcome=Outcome.ANSWERED)
        await _write(writer, data)


async def _wait_gone(reader: StreamReader) -> None:
    """Until the client has had enough."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass


async def _write(writer: StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _give_up(trouble: Trouble | None) -> NoReturn:
    raise _Hold if trouble is Trouble.STALL else _Drop


def _understood(request: Request, path: str) -> tuple[HTTPStatus, dict[str, Any]]:
    """OK and the body as JSON; else the status and the body of an error."""
    if path not in _METHODS:
        known = ", ".join(_METHODS)
        return HTTPStatus.NOT_FOUND, _invalid(f"no such path: {request.path}; this fake LLM knows {known}")
    if request.method != _METHODS[path]:
        return HTTPStatus.METHOD_NOT_ALLOWED, _invalid(f"{path} takes {_METHODS[path]}, not {request.method}")
    if path == _MODELS:
        return HTTPStatus.OK, {}
    try:
        body = json.loads(request.body, parse_constant=_refuse_constant)
    except ValueError as error:
        return HTTPStatus.BAD_REQUEST, _invalid(f"the request is not JSON: {error}")
    if problem := _problem(body, _NEEDED[path]):
        return HTTPStatus.BAD_REQUEST, _invalid(problem)
    return HTTPStatus.OK, body


def _problem(body: object, needed: str) -> str:
    if not isinstance(body, dict):
        return "the request is not a JSON object"
    if not isinstance(body.get("model"), str):
        return "model must be a string"
    if not body.get(needed):
        return f"{needed} must be there, and not empty"
    if needed == "messages" and not (isinstance(body[needed], list) and all(isinstance(m, dict) for m in body[needed])):
        return "messages must be a list of objects"
    if not isinstance(body.get("stream_options") or {}, dict):
        return "stream_options must be an object"
    size = body.get("dimensions") or 1
    if not isinstance(size, int) or not 1 <= size <= _LARGEST_DIMENSIONS:
        return f"dimensions must be 1 to {_LARGEST_DIMENSIONS}"
    return ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _invalid(message: str) -> dict[str, Any]:
    return answers.error(message, "invalid_request_error", None)
