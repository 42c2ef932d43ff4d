"""A loop of the stack that asks a critic about its draft: stopped when it only goes round, left alone while it gets on.

The critic is any OpenAI-compatible API, found by OPENAI_BASE_URL.
"""

import json
import os
import urllib.request
from pathlib import Path

from pytest_guardrails.reliability.loops import LoopController, MaxIterations, StepContext, StepKind, StepResult
from pytest_guardrails.reliability.state import BackendSettings, open_store

ASKED = b'{"model": "critic", "messages": [{"role": "user", "content": "Is the draft good?"}]}'
MOST = 40  # far above what the detector needs, and below what the critic is asked at most


def review(_: StepContext) -> StepResult:
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, ASKED, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        said = json.load(answer)
    text = said["choices"][0]["message"]["content"]
    if text == "good":
        return StepResult(done=True, value=text)
    return StepResult(kind=StepKind.RETRY, feedback=text, value=text, tokens=said["usage"]["total_tokens"])


def run(disk: Path) -> dict[str, object]:
    settings = BackendSettings(durability="process")
    with open_store(disk / "state", backend="json", settings=settings) as store:
        report = LoopController("review", store, stop_when=MaxIterations(MOST)).run(review)
    return {"state": report.state.value, "reason": report.reason.value, "rounds": report.facts.iterations}


def check_stuck(_: Path, value: dict[str, object]) -> None:
    assert (value["state"], value["reason"]) == ("aborted", "stuck"), value
    assert isinstance(value["rounds"], int)
    assert value["rounds"] < MOST / 2, value


def check_completed(_: Path, value: dict[str, object]) -> None:
    assert (value["state"], value["reason"]) == ("completed", "completed"), value
