"""The oracle for histories of concurrent operations: is there a sequential order that explains all answers?

Read `models.py` for what a thing does, `search.py` for the search, `check.py` for the whole.
"""

from chaos.oracles.linearizable.check import Judgement, linearizable
from chaos.oracles.linearizable.models import ILLEGAL, Model, model_named

__all__ = ["ILLEGAL", "Judgement", "Model", "linearizable", "model_named"]
