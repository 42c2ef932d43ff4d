"""The command `chaos`: scenarios, traces and findings from the shell."""

from chaos.cli.app import main

__all__ = ["main"]
