"""The app that bench measures."""

from __future__ import annotations

from charmer import command


@command
def echo(value: str) -> str:
    """Give back what was sent."""
    return value
