"""What an OpenAI-compatible API answers, as plain values. Pure, and the same for the same request; `server.py` next.

Ids and times are made of the request's number, never of a clock, so that two runs can be compared.
"""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaos.faults.llm_script import Step, Trouble

__all__ = ["MODELS", "chunks", "completion", "embeddings", "error", "models"]

MODELS = ("fake-chat", "fake-embedding")
_EPOCH = 1_700_000_000
_DIMENSIONS = 8  # as many as tell texts apart, few enough to be read in a failing test
_REFUSAL = "I can't help with that."
_PIECES = re.compile(r"\s*\S+\s*")


def completion(number: int, step: Step, request: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion that is not streamed."""
    refused = step.turn.trouble is Trouble.REFUSED
    message = {
        "role": "assistant",
        "content": None if refused else step.text,
        "refusal": (step.text or _REFUSAL) if refused else None,
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": step.turn.finish}
    return {
        **_head(number, request, "chat.completion"),
        "choices": [] if step.turn.trouble is Trouble.EMPTY else [choice],
        "usage": _usage(step, _asked(request), step.text),
    }


def chunks(number: int, step: Step, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pieces of a streamed chat completion: the role, the text word by word, why it ended, and usage if asked."""
    head = _head(number, request, "chat.completion.chunk")
    options = request.get("stream_options") or {}
    if step.turn.trouble is not Trouble.EMPTY:
        key = "refusal" if step.turn.trouble is Trouble.REFUSED else "content"
        text = step.text or (_REFUSAL if key == "refusal" else "")
        yield {**head, "choices": [_delta({"role": "assistant", key: ""})]}
        for piece in _PIECES.findall(text) or ([text] if text else []):
            yield {**head, "choices": [_delta({key: piece})]}
        yield {**head, "choices": [_delta({}, step.turn.finish)]}
    if options.get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(step, _asked(request), step.text)}


def embeddings(step: Step, request: Mapping[str, Any]) -> dict[str, Any]:
    """An embedding for each text: equal texts have equal vectors, of length 1."""
    given = request["input"]
    texts = given if isinstance(given, list) and not all(isinstance(one, int) for one in given) else [given]
    size = request.get("dimensions") or _DIMENSIONS
    vectors = [_vector(str(text), size) for text in texts]
    if step.turn.trouble is Trouble.NAN_VECTOR:
        vectors[0][0] = math.nan
    packed = request.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = _usage(step, " ".join(map(str, texts)), "")
    del usage["completion_tokens"]
    return {"object": "list", "data": data, "model": request.get("model", MODELS[1]), "usage": usage}


def models() -> dict[str, Any]:
    """The list of models."""
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": _EPOCH, "owned_by": "chaos"} for name in MODELS],
    }


def error(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """The body of an HTTP error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _head(number: int, request: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-fake-{number}",
        "object": kind,
        "created": _EPOCH + number,
        "model": request.get("model", MODELS[0]),
    }


def _delta(delta: Mapping[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}


def _usage(step: Step, asked: str, answered: str) -> dict[str, Any]:
    """Words stand for tokens."""
    prompt, answer = len(asked.split()), len(answered.split())
    if step.turn.trouble is Trouble.NAN_USAGE:
        return dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), math.nan)
    if step.turn.trouble is Trouble.NEGATIVE_USAGE:
        prompt, answer = -prompt - 1, -answer - 1
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _asked(request: Mapping[str, Any]) -> str:
    return " ".join(str(message.get("content", "")) for message in request["messages"])


def _vector(text: str, size: int) -> list[float]:
    drawn = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(2 * size)
    numbers = [1 + number for number in struct.unpack(f"<{size}H", drawn)]  # never all 0
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
