"""charmer: the functions as commands, alone in their worker or in threads beside others; with BENCH_LOOP also those that need a loop."""

from __future__ import annotations

import os
from typing import Any, Iterator

import work
from charmer import command

plain = command(concurrency=40) if os.environ.get("BENCH_THREADS") else command


@plain
def echo(value: str) -> str:
    return work.echo(value)


@plain
def same(value: Any) -> Any:
    return work.echo(value)


@plain
def spin(n: int) -> int:
    return work.spin(n)


@plain
def doze(seconds: float) -> float:
    return work.doze(seconds)


@command
def numbers(n: int) -> Iterator[dict[str, Any]]:
    yield from work.numbers(n)


@command
def single(x: int) -> int:
    return work.together([x])[0]


turns = 0


@command
def count() -> int:
    """Count the calls of a session."""
    global turns
    turns += 1
    return turns


@command
def fail(message: str) -> None:
    raise ValueError(message)


if os.environ.get("BENCH_LOOP"):
    import loops  # noqa: F401
