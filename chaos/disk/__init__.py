"""What a disk may hold after a crash: file trees, persistence models, and the states that they allow.

`Tree` is a file tree as a value, `apply` what an operation does to it, `PersistenceModel` a table of rules,
`StateSpace` all crash states of a trace under a model, `Slot` a real folder in which they are laid out. Read
`models.py` for the rules, `tree.py` for the ground, `space.py` for the whole.
"""

from typing import TYPE_CHECKING

from pytest_guardrails.faces import lazy

if TYPE_CHECKING:
    from chaos.disk.content import Content
    from chaos.disk.folder import Slot, first_difference, is_excluded, materialise, prove, read_tree
    from chaos.disk.models import MODELS, RULES, PersistenceModel, model_named, weakest_first
    from chaos.disk.replay import apply, initial_tree
    from chaos.disk.space import DEFAULT_BOUND, StateSpace
    from chaos.disk.states import CrashState, Description, Fate, OperationFate, Statistics
    from chaos.disk.times import Stamp, Times
    from chaos.disk.tree import Node, Tree

__all__ = [  # noqa: RUF022 - in plain order, as everywhere in this house
    "Content",
    "CrashState",
    "DEFAULT_BOUND",
    "Description",
    "Fate",
    "MODELS",
    "Node",
    "OperationFate",
    "PersistenceModel",
    "RULES",
    "Slot",
    "Stamp",
    "StateSpace",
    "Statistics",
    "Times",
    "Tree",
    "apply",
    "first_difference",
    "initial_tree",
    "is_excluded",
    "materialise",
    "model_named",
    "prove",
    "read_tree",
    "weakest_first",
]

__getattr__ = lazy(
    __name__,
    {
        "content": "Content",
        "folder": "Slot first_difference is_excluded materialise prove read_tree",
        "models": "MODELS RULES PersistenceModel model_named weakest_first",
        "replay": "apply initial_tree",
        "space": "DEFAULT_BOUND StateSpace",
        "states": "CrashState Description Fate OperationFate Statistics",
        "times": "Stamp Times",
        "tree": "Node Tree",
    },
)
