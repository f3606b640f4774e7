"""The smallest app: a function of its arguments, and one that remembers."""

from __future__ import annotations

from charmer import command

_calls = 0


@command
def greet(name: str, excited: bool = False) -> str:
    """Greet somebody."""
    return f"hello {name}" + ("!" if excited else "")


@command
def count() -> int:
    """Count the calls that reached this process: 1, 2, 3 ... in a session."""
    global _calls
    _calls += 1
    return _calls
