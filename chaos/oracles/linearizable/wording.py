"""A refutation in words, for people."""

from collections.abc import Iterable

from chaos.history import Answer, Operation
from chaos.oracles.linearizable.check import Judgement
from chaos.oracles.linearizable.models import Model

__all__ = ["operation_words", "refutation_words"]


def refutation_words(judged: Judgement, model: Model) -> str:
    """One sentence: which answers no order explains."""
    where = "" if judged.key is None else f" of key {judged.key!r}"
    why = f" ({judged.why})" if judged.why else ""
    answers = "; ".join(_lines(judged.refutation))
    return f"no order of calls explains these answers of a {model.name}{where}: {answers}{why}"


def operation_words(operation: Operation) -> str:
    """One call, e.g. `write(1)`, `read() -> 1`."""
    argument = "" if operation.argument is None else repr(operation.argument)
    answer = " -> ?" if operation.answer is Answer.UNKNOWN else f" -> {operation.result!r}"
    if operation.answer is Answer.OK and operation.result is None and operation.argument is not None:
        answer = ""
    return f"{operation.name}({argument}){answer}"


def _lines(operations: Iterable[Operation]) -> Iterable[str]:
    return (f"worker {operation.process} {operation_words(operation)}" for operation in operations)
