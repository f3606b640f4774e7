"""The functions that are measured, the same for every contender, and the marks by which the benchmark knows its workers."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, AsyncIterator, Iterator, TypeVar

T = TypeVar("T")


def echo(value: T) -> T:
    return value


def spin(n: int) -> int:
    """Keep the processor busy in pure Python for n turns."""
    total = 0
    for i in range(n):
        total = (total * 31 + i) % 1_000_003
    return total


def doze(seconds: float) -> float:
    """Wait, as code that blocks does, and note how long this kept a worker."""
    began = time.monotonic()
    try:
        time.sleep(seconds)
    finally:
        if path := os.environ.get("BENCH_SPENT"):
            with open(path, "ab", buffering=0) as spent:
                spent.write(b"%f\n" % (time.monotonic() - began))
    return seconds


async def nap(seconds: float) -> float:
    """Wait, as code does that lets others run meanwhile."""
    await asyncio.sleep(seconds)
    return seconds


def together(xs: list[int]) -> list[int]:
    """Do something that takes 2 ms however many there are."""
    time.sleep(0.002)
    return xs


def numbers(n: int) -> Iterator[dict[str, Any]]:
    """Yield the words of a stream."""
    for i in range(n):
        yield {"i": i, "text": "some words of a token stream"}


async def anumbers(n: int) -> AsyncIterator[dict[str, Any]]:
    """Yield the words of a stream."""
    for i in range(n):
        yield {"i": i, "text": "some words of a token stream"}


def ready() -> None:
    """Leave the mark of a worker that serves: a file with its process id as name."""
    with open(os.path.join(os.environ["BENCH_MARKS"], str(os.getpid())), "w", encoding="ascii"):
        pass


# Stands for the imports of an app.
_until = time.monotonic() + float(os.environ.get("BENCH_IMPORT_SECONDS", "0"))
while time.monotonic() < _until:
    pass
