"""Operations in words, for timelines: `write 4096 bytes at 0 of state.json`. Pure."""

from chaos.trace.model import Kind, Op

__all__ = ["operation_text"]


def operation_text(op: Op) -> str:
    """One operation in a few words, without its fate."""
    path = op.path or ("the folder" if op.node == 0 else "a file without a name")
    if op.kind is Kind.WRITE:
        return f"write {len(op.data)} byte{'s' * (len(op.data) != 1)} at {op.offset} of {path}"
    if op.kind is Kind.RENAME:
        return f"rename {path} to {op.to_path}" + (" (replacing it)" if op.victim is not None else "")
    if op.kind is Kind.EXCHANGE:
        return f"exchange {path} and {op.to_path}"
    if op.kind is Kind.TRUNCATE:
        return f"truncate {path} to {op.size} bytes"
    if op.kind is Kind.CHMOD:
        return f"change the mode of {path} to {op.mode:o}"
    if op.kind is Kind.SYMLINK:
        return f"symlink {path} to {op.target}"
    if op.kind is Kind.SYNC:
        return "sync everything"
    failed = f" (failed with errno {op.errno})" if op.errno else ""
    return f"{op.kind.value} {path}{failed}"
