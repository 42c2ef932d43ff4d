"""What an episode of a race looked like, line by line: as oracles see it, and as people do. Read `racing.py` next."""

from collections.abc import Iterator, Sequence

from chaos.history import LiveRun, Said, participant_words
from chaos.race.episode import Episode
from chaos.race.moves import Form
from chaos.race.stage import Played
from chaos.race.wording import move_words
from chaos.report.places import short_place, user_frame
from chaos.trace.model import Frame

__all__ = ["blamed_frames", "interleaving", "live_run"]

_ENDED = "x"


def live_run(played: Played) -> LiveRun:
    """An episode as the oracles see it."""
    episode = played.episode
    said = [
        Said(position, step.participant, step.move.text)
        for position, step in enumerate(episode.steps)
        if step.move.form is Form.SAY
    ]
    # An end comes before the step of the same number.
    said += [Said(position - 1, participant, _ENDED) for position, participant in episode.ends]
    return LiveRun(
        said=tuple(sorted(said, key=lambda one: one.position)),
        outcomes=played.outcomes,
        check=played.check,
        waiting=tuple((step.participant, move_words(step.move)) for step in episode.waiting),
        cut=episode.cut,
        racers=episode.racers,
    )


def interleaving(episode: Episode, *, until: int | None = None) -> Iterator[str]:
    """The steps, up to the step `until`; a star stands where somebody else goes on than before."""
    racers, before = episode.racers, -1
    for number, step in enumerate(episode.steps[: None if until is None else until + 1]):
        mark, switch = "<- " if number == until else "   ", " " if before in (-1, step.participant) else "*"
        place = _place(step.source)
        yield f"{mark}{number:4} {switch}{participant_words(step.participant, racers)}: {move_words(step.move)}{place}"
        before = step.participant
    for step in episode.waiting:
        who, what = participant_words(step.participant, racers), move_words(step.move)
        yield f"         {who}: waits in {what}{_place(step.source)}"


def blamed_frames(played: Played, position: int | None) -> tuple[Frame, ...]:
    """Where it went wrong, innermost first, as far as that can be told.

    That is the step that decides, else where a worker failed, else where the first one waits.
    """
    if position is not None:
        return played.episode.steps[position].source
    failed = [outcome.frames for outcome in (*played.outcomes, played.check) if outcome is not None]
    waiting = [step.source for step in played.episode.waiting]
    return next((frames for frames in (*failed, *waiting) if frames), ())


def _place(source: Sequence[Frame]) -> str:
    frame = user_frame(source)
    return "" if frame is None else f"  [{short_place(frame)}]"
