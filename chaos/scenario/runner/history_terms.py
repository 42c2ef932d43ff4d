"""What a history is held against, from its name in a scenario: one of the known models, or the user's own.

A user's model is imported by the harness itself, when the scenario is run. Read `racing.py` for who asks.
"""

from collections.abc import Sequence
from typing import Any

from chaos.child.actors import TargetError, imported
from chaos.errors import UsageError
from chaos.oracles.linearizable import Model, model_named
from chaos.oracles.live import Terms
from chaos.scenario.kinds.race import unread_initial

__all__ = ["refuse_unread_initial", "terms_of"]


def refuse_unread_initial(initial: Any, history: Any, *, counted: bool = False) -> None:
    """Refuse a first value that nothing would look at; a replay may lack the history that its scenario had.

    Raises:
        UsageError: nothing would.
    """
    if unread := unread_initial(initial, history, counted=counted):
        raise UsageError(*unread)


def terms_of(history: Any, initial: Any, search: Sequence[str]) -> Terms:
    """The terms of a scenario.

    Args:
        history: a model's name, "module:object", a model, or None.
        initial: the first value; the model's own when None.
        search: folders in which the module is looked for first.

    Raises:
        UsageError: there is no such model.
    """
    if history is None or isinstance(history, Model):
        return Terms(model=history, initial=initial)
    if ":" not in str(history):
        return Terms(model=model_named(str(history)), initial=initial)
    try:
        model = imported(str(history), search)
    except TargetError as error:
        raise UsageError(str(error), "give a Model of chaos.oracles.linearizable") from None
    if not isinstance(model, Model):
        raise UsageError(f"{history} is a {type(model).__name__}, not a Model", "see chaos.oracles.linearizable")
    return Terms(model=model, initial=initial)
