"""The oracle for histories of concurrent operations: is there a sequential order that explains all answers?

Read `models.py` for what a thing does, `search.py` for the search, `check.py` for the whole.
"""

from chaos.oracles.linearizable.check import LIMIT, Judgement, linearizable
from chaos.oracles.linearizable.models import ILLEGAL, MODELS, Model, model_named

__all__ = ["ILLEGAL", "LIMIT", "MODELS", "Judgement", "Model", "linearizable", "model_named"]
