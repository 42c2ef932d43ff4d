"""`python -m chaos`: the same program as the command `chaos`, whose name other projects use too."""

from chaos.cli import main

main()
