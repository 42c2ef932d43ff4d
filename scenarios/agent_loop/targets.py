"""An agent that asks a critic about its draft until the critic is content: as it is often written, and soundly.

It talks to any OpenAI-compatible API, which it finds by OPENAI_BASE_URL, and keeps what it spent in a file. The sound
one has a time-out and a limit for everything that may never come, believes no number that it is sent, and stops when it
is told nothing new.
"""

import json
import math
import os
import re
import urllib.request
from pathlib import Path

ASKED = b'{"model": "critic", "messages": [{"role": "user", "content": "Is the draft good?"}]}'
TIMEOUT_S = 0.3
TRIES = 3
ALIKE = 5


def ask(timeout_s: float | None = None) -> dict:
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, ASKED, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.load(answer)


def naive(disk: Path) -> int:
    spent = 0
    while True:
        answer = ask()
        spent += answer["usage"]["total_tokens"]
        (disk / "spent.json").write_text(json.dumps({"tokens": spent}))
        if answer["choices"][0]["message"]["content"] == "good":
            return spent


def sound(disk: Path) -> dict:
    spent, told = 0, []
    while True:
        answer = patient_ask()
        if answer is None:
            return {"ended": "the critic can't be reached", "tokens": spent}
        text, tokens = answer
        spent += tokens
        (disk / "spent.json").write_text(json.dumps({"tokens": spent}))
        if text == "good":
            return {"ended": "good", "tokens": spent}
        told.append(re.sub(r"\d+", "#", text))
        if told.count(told[-1]) == ALIKE:
            return {"ended": "nothing new", "tokens": spent}


def patient_ask() -> tuple[str, int] | None:
    for _ in range(TRIES):
        try:
            answer = ask(TIMEOUT_S)
            text = answer["choices"][0]["message"]["content"]
            tokens = answer["usage"]["total_tokens"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if isinstance(text, str) and math.isfinite(tokens) and tokens >= 0:
            return text, tokens
    return None


def check(disk: Path, value: dict) -> None:
    tokens = json.loads((disk / "spent.json").read_text())["tokens"] if (disk / "spent.json").exists() else 0
    assert value["tokens"] == tokens >= 0
