"""`StuckDetector`: tells a loop that goes round from one that works, and says what it saw.

It is a machine without clock, chance or files: what it answers follows from its settings and the steps alone, so a
detector that was restored from its state answers as the one that was killed. It remembers a bounded number of steps
and messages, and a step costs the same however long the history is.

    detector = StuckDetector()
    verdict = detector.observe(Step(kind=StepKind.ERROR, action="make", feedback="No rule to make target 'all'"))
    if verdict.level >= Level.BLOCK:
        print(verdict.evidence)

**What counts as the same.** A failure is known by its message, whatever was tried; a success by what was done and what
came of it. Variable parts of messages do not count (`wording.py`), nearly equal ones are one (`likeness.py`).
**What is respected.** All counts begin anew when the work advances: a progress mark that is new, or a number that says
how far the work is and reached a new best. Waiting has a budget of its own, which begins anew with each new answer.

Read `stuck_model.py` for the ladders, `stuck_rules.py` for which of them is looked at when.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, final

from pytest_guardrails.errors import check_whole
from pytest_guardrails.reliability.loops.likeness import Likeness, Match
from pytest_guardrails.reliability.loops.repetition import Repetition
from pytest_guardrails.reliability.loops.stuck_model import Level, Step, StepKind, StuckSettings, Verdict
from pytest_guardrails.reliability.loops.stuck_rules import Facts, Tally, count, judge
from pytest_guardrails.reliability.loops.wording import digest, distinct, plain_text, read_value
from pytest_guardrails.reliability.telemetry.formats import known_format

__all__ = ["StuckDetector"]

_FORMAT = 1
_EXCERPTS = 8  # shown as evidence of a cycle
_EXCERPT_CHARACTERS = 80
_MARK_CHARACTERS = 16  # 64 bits: enough to tell a window's actions apart
_KINDS = {
    "needs_changes": StepKind.RETRY,
    "retry": StepKind.RETRY,
    "failed": StepKind.ERROR,
    "error": StepKind.ERROR,
    "timeout": StepKind.ERROR,
    "waiting": StepKind.WAITING,
    "pending": StepKind.WAITING,
    "polling": StepKind.WAITING,
    "queued": StepKind.WAITING,
    "running": StepKind.WAITING,
    "in_progress": StepKind.WAITING,
}


@final
class StuckDetector:
    """See the module.

    Args:
        max_consecutive_retries: how often `check_retry_loop` accepts identical feedback; at least 1.
        settings: how patient it is otherwise.
    """

    def __init__(self, max_consecutive_retries: int = 2, *, settings: StuckSettings | None = None) -> None:
        check_whole("max_consecutive_retries", max_consecutive_retries, 1)
        self.max_consecutive_retries = max_consecutive_retries
        self.settings = settings or StuckSettings()
        self._unknown: Mapping[str, Any] = {}  # that a newer program wrote
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after an approval."""
        self._likeness = Likeness(self.settings.groups)
        self._repetition = Repetition(self.settings.window)
        self._retries = 0
        self._retry_hash: str | None = None
        self._marks: OrderedDict[str, None] = OrderedDict()  # of progress, lately seen
        self._actions: OrderedDict[int, tuple[str, bool]] = OrderedDict()  # by group: see `_one_action`
        self._steps = 0
        self._tally = Tally()
        self._excerpts: deque[str] = deque(maxlen=_EXCERPTS)

    def check_retry_loop(
        self, status: str, feedback: Any, iteration: int, max_rounds: int | None = None
    ) -> tuple[bool, str | None]:
        """The original contract, and every other pattern as far as status and feedback show it.

        Args:
            status: "approved" forgets everything; "needs_changes" and "retry" ask for the same again; "failed",
                "error" and "timeout" are errors; "waiting", "pending", "polling", "queued", "running" and "in_progress"
                wait; anything else counts as work that went well.
            feedback: a list of texts, a text, or anything of JSON.
            iteration: the number of this round, from 1.
            max_rounds: from this iteration on a request for changes aborts; None or 0 for no limit.

        Returns:
            Whether to abort, and why. That is so when identical feedback came `max_consecutive_retries` times in a
            row, at the last round, and when a pattern reached the level BLOCK.
        """
        status = status.strip().lower()
        if status == "approved":
            self.reset()
            return False, None
        kind = _KINDS.get(status, StepKind.OK)
        verdict = self.observe(Step(kind=kind, feedback=feedback))
        if kind is StepKind.RETRY:
            found = digest(feedback)
            self._retries = self._retries + 1 if found == self._retry_hash else 1
            self._retry_hash = found
            if self._retries >= self.max_consecutive_retries:
                return True, f"identical feedback {self._retries} times consecutively: {_excerpt(feedback)}"
            if max_rounds and not iteration < max_rounds:  # nor without end if one of them is NaN
                return True, f"round {iteration} of {max_rounds} still asks for changes: {_excerpt(feedback)}"
        if verdict.level >= Level.BLOCK:
            return True, verdict.evidence
        return False, None

    def observe(self, step: Step) -> Verdict:
        """Take note of a step and judge the history with it."""
        self._steps += 1
        match = self._likeness.match(read_value(step.feedback), failing=step.kind.failing)
        fresh = step.progress is not None and self._is_new_mark(step.progress)
        if fresh or match.advanced:
            # A mark tells more of the work than a message does, so a number in a message does not speak against it.
            self._repetition.clear()
            self._tally = Tally(still=0 if fresh else self._tally.still, last_wait=self._tally.last_wait)
        action = "" if step.action is None else distinct(step.action)[:_MARK_CHARACTERS]
        seen = self._repetition.push(_mark(step.kind, match, action))
        one_action = self._one_action(match.group, action)
        self._tally = count(self._tally, step, match, step_number=self._steps, fresh=fresh)
        self._excerpts.append(_excerpt(step.feedback))
        facts = Facts(self._steps, step.kind, match, seen, bool(action), one_action, self._tally)
        return judge(facts, self.settings, self._excerpts)

    def get_state(self) -> dict[str, Any]:
        """Everything that later verdicts depend on, as JSON knows it; for `restore_state`."""
        return {
            **self._unknown,
            "format": _FORMAT,
            "consecutive_retry_count": self._retries,
            "last_retry_feedback_hash": self._retry_hash,
            "steps": self._steps,
            "tally": list(self._tally),
            "actions": [[group, action, one] for group, (action, one) in self._actions.items()],
            "marks": list(self._marks),
            "excerpts": list(self._excerpts),
            "likeness": self._likeness.plain(),
            "repetition": self._repetition.plain(),
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `get_state`; the two fields of the original contract alone will do.

        Raises:
            NewerFormatError: a later version of this program wrote it.
        """
        known_format(state, _FORMAT, "the detector's state")
        self.reset()
        self._unknown = {}
        self._unknown = {name: value for name, value in state.items() if name not in self.get_state()}
        self._retries = state.get("consecutive_retry_count", 0)
        self._retry_hash = state.get("last_retry_feedback_hash")
        if "likeness" not in state:
            return
        self._steps = state["steps"]
        self._tally = Tally(*state["tally"])
        self._actions = OrderedDict((group, (action, one)) for group, action, one in state["actions"])
        self._marks = OrderedDict.fromkeys(state["marks"])
        self._excerpts.extend(state["excerpts"])
        self._likeness.restore(state["likeness"])
        self._repetition.restore(state["repetition"])

    def _is_new_mark(self, progress: Any) -> bool:
        mark = digest(progress)[:_MARK_CHARACTERS]
        new = mark not in self._marks
        self._marks[mark] = None
        self._marks.move_to_end(mark)
        if len(self._marks) > self.settings.window:
            self._marks.popitem(last=False)
        return new

    def _one_action(self, group: int, action: str) -> bool:
        """Whether this message came of one action only, whenever it came."""
        known, one = self._actions.pop(group, (action, True))
        self._actions[group] = action, one and known == action
        if len(self._actions) > self.settings.groups:
            self._actions.popitem(last=False)
        return self._actions[group][1]


def _mark(kind: StepKind, match: Match, action: str) -> str:
    """What a step is known by: a failure by its message, a success also by what was done."""
    if kind is StepKind.OK and action:
        return f"{action}:{match.group}"
    return f"failure:{match.group}" if kind.failing else f"{kind.value}:{match.group}"


def _excerpt(feedback: Any) -> str:
    text = plain_text(feedback)
    return text if len(text) <= _EXCERPT_CHARACTERS else text[: _EXCERPT_CHARACTERS - 3] + "..."
