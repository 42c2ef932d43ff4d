"""A fake LLM on loopback, OpenAI-compatible, that goes wrong as scripted. Read `server.py` first."""

from chaos.faults.llm.journal import Exchange, LLMStatistics, Outcome
from chaos.faults.llm.server import FakeLLM
from chaos.faults.llm_script import Script, Then, Trouble, Turn, script_of

__all__ = ["Exchange", "FakeLLM", "LLMStatistics", "Outcome", "Script", "Then", "Trouble", "Turn", "script_of"]
