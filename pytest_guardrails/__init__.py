"""Reliability for Python programs that must not lose data: a chaos harness, a pytest plugin, and the stack.

This module imports nothing: it is loaded in every pytest run of every project that has the plugin installed.
"""

__version__ = "0.1.0"
