"""The kind `agent` in a scenario file. Read `chaos/scenario/layout.py` next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.errors import UsageError
from chaos.faults.feedback import Feedback, FeedbackKind
from chaos.faults.llm_script import Script, Then, Trouble, Turn
from chaos.scenario.fields.network import NETWORK, rules_from
from chaos.scenario.fields.pieces import COUNT, DURATION, ENV, TARGET, Kind, check_env, expect, made, oracles
from chaos.scenario.kinds.agent import AGENT_MODEL, AGENT_ORACLES, Agent
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Table, Tables, choice, each, measured, text

__all__ = ["AGENT"]

_TROUBLES = [one.value for one in Trouble]
_TARGET_FIELDS = (
    Field(
        key="agent",
        shape=TARGET,
        about="what asks the LLM, which it finds by OPENAI_BASE_URL: agent(disk) -> value",
        required=True,
        example='agent = "targets:agent"',
    ),
    Field(key="setup", shape=TARGET, about="makes the files that every run begins with: setup(disk)"),
    Field(key="check", shape=TARGET, about="the user's own predicate after each run: check(disk, value) raises"),
    ENV,
)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


_NUMBER = measured({"type": "integer", "minimum": 0}, _whole)
_TURN_FIELDS = (
    Field(key="say", shape=text("a text"), about="the text of the answer"),
    Field(
        key="feedback",
        shape=choice([one.value for one in FeedbackKind]),
        about="answers that are related round after round, made of `texts`",
    ),
    Field(key="texts", shape=each(text("a text"), "a list of texts", at_least=1), about="what the feedback is made of"),
    Field(key="trouble", shape=choice(_TROUBLES), about="what goes wrong"),
    Field(key="times", shape=COUNT, about="for how many requests; one, or until the feedback ends"),
    Field(key="status", shape=COUNT, about='with trouble = "status": which one, 400 to 599'),
    Field(key="retry_after", shape=DURATION, about="with rate limit and status: what the header Retry-After says"),
    Field(key="after_chunks", shape=_NUMBER, about="with stall and drop: how many pieces of a stream come first"),
    Field(key="finish", shape=choice(["stop", "length", "content_filter"]), about="why the model stopped"),
)
_LLM_FIELDS = (
    Field(key="turn", shape=Tables(fields=_TURN_FIELDS), about="what happens to request after request"),
    Field(key="then", shape=choice([one.value for one in Then]), about="what happens when the turns are over"),
    Field(
        key="troubles",
        shape=each(choice(_TROUBLES), "a list of troubles", at_least=1, unique=True),
        about="each of these is made at each request in turn, until a run ends untouched",
    ),
)
_FIELDS = (
    Field(
        key="target",
        shape=Table(fields=_TARGET_FIELDS),
        about='the program under test: "module:object" beside this file, or lists of commands',
        required=True,
        example="[target]",
    ),
    Field(key="llm", shape=Table(fields=_LLM_FIELDS), about="what the fake LLM does", required=True, example="[llm]"),
    NETWORK,
    oracles(AGENT_ORACLES),
    Field(key="rounds", shape=COUNT, about="how many requests a run may make"),
    Field(key="deadline", shape=DURATION, about="how long a run may take"),
    expect(AGENT_ORACLES, [AGENT_MODEL]),
)
_SETTINGS = {"oracles": "oracles", "rounds": "rounds", "deadline": "deadline_s"}
_TURN = {"say": "say", "times": "times", "status": "status", "retry_after": "retry_after_s", "finish": "finish"}


def _build(reader: Reader, values: Mapping[str, Any], folder: Path) -> Agent | None:
    given, llm = values.get("target", {}), values.get("llm", {})
    env = given.get("env", ())
    roles = [name for name in ("agent", "setup", "check") if name in given]
    targets: dict[str, Any] = {name: made(given[name], folder, env) for name in roles}
    check_env(reader, env, targets.values())
    turns = [_turn(reader, turn, place) for place, turn in enumerate(llm.get("turn", []))]
    script = _script(reader, tuple(turn for turn in turns if turn is not None), llm.get("then"))
    network = rules_from(reader, values.get("network", []))
    if "agent" not in targets or script is None or None in turns:
        return None
    settings = {_SETTINGS[key]: value for key, value in values.items() if key in _SETTINGS}
    troubles = tuple(map(Trouble, llm.get("troubles", ())))
    return Agent(**targets, script=script, troubles=troubles, network=network, **settings)


def _turn(reader: Reader, given: Mapping[str, Any], place: int) -> Turn | None:
    facts = {_TURN[key]: value for key, value in given.items() if key in _TURN}
    try:
        if "feedback" in given or "texts" in given:
            kind = FeedbackKind(given.get("feedback", FeedbackKind.HONEST.value))
            facts["feedback"] = Feedback(kind=kind, texts=given.get("texts", ()))
        if "trouble" in given:
            facts["trouble"] = Trouble(given["trouble"])
        if "after_chunks" in given:
            facts["after_chunks"] = given["after_chunks"]
        return Turn(**facts)
    except UsageError as error:
        reader.report(("llm", "turn", place), error.message, error.hint)
        return None


def _script(reader: Reader, turns: tuple[Turn, ...], then: str | None) -> Script | None:
    try:
        return Script(turns=turns, then=Then(then or Then.END))
    except UsageError as error:
        reader.report(("llm",), error.message, error.hint)
        return None


AGENT = Kind(fields=_FIELDS, build=_build)
