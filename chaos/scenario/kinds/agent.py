"""The kind `agent`: a program that asks an LLM runs against a fake one, which goes wrong as scripted.

Data only; read `chaos/scenario/fields/agent.py` for its keys in a file, `chaos/scenario/runner/agent.py` for its run.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from chaos.child.target import Target
from chaos.faults.llm_script import Script, Trouble
from chaos.faults.network_rules import Rule

__all__ = ["AGENT_MODEL", "AGENT_ORACLES", "Agent"]

# As in `model.py`: the names written down, held equal to the table in `chaos.oracles` by a test.
AGENT_ORACLES = ("finite", "check", "terminates", "returns")
AGENT_MODEL = "fake LLM"  # what stands for the persistence model in an agent's findings


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A program that finds its LLM by OPENAI_BASE_URL, and is run until it ends or must be ended.

    Attributes:
        agent: `agent(disk)`, or commands.
        script: what the LLM does.
        troubles: each of these is made at each request in turn, beside the script, until a run ends untouched.
        network: what is done to the connections between the agent and the LLM.
        setup: makes the files that every run begins with: `setup(disk)`.
        check: `check(disk, value)` after each run that returned; raises when it objects.
        oracles: what must hold, by name; None = the usual ones.
        rounds: how many requests a run may make.
        deadline_s: how long a run may take; 30 s when None.
    """

    kind: ClassVar[str] = "agent"
    unit: ClassVar[str] = "run"
    agent: Target
    script: Script
    troubles: tuple[Trouble, ...] = ()
    network: tuple[Rule, ...] = ()
    setup: Target | None = None
    check: Target | None = None
    oracles: tuple[str, ...] | None = None
    rounds: int = 50
    deadline_s: float | None = None
