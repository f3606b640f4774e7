"""The app that charmer serves when none is named: a few commands to try it out, and some to see it cope.

Each is called with `POST /execute`, for example `{"command": "greet", "args": {"name": "Ada"}}`.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Annotated, Final, Iterator

from charmer import Bounds, CommandError, command, progress


@dataclass
class Tally:
    """A number that lives as long as its process, which in a session is as long as the session."""

    total: int = 0


TALLY: Final = Tally()


@command(idempotent=True)
def greet(name: str, excited: bool = False) -> str:
    """Greet somebody."""
    return f"hello {name}" + ("!" if excited else "")


@command(idempotent=True)
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@command(idempotent=True)
def echo(value: object) -> object:
    """Give back what was sent, whatever JSON it is."""
    return value


@command(idempotent=True)
def sleep(seconds: Annotated[float, Bounds(ge=0)]) -> float:
    """Sleep, and give back how many seconds that was. With a call timeout below it, see the stack in the 504."""
    begun = time.monotonic()
    time.sleep(seconds)
    return time.monotonic() - begun


@command
def count(step: int = 1) -> int:
    """Count up and give back the total of this process. In a session it shows that a session keeps its state."""
    TALLY.total += step
    return TALLY.total


@command
def count_to(n: int, pause: float = 0.0) -> Iterator[int]:
    """Count from 1 to n, and pause for some seconds before each number: a stream for those who ask for one."""
    for number in range(1, n + 1):
        time.sleep(pause)
        progress(number / n, f"{number} of {n}")
        yield number


@command
def fail(message: str = "it was asked to", code: str = "") -> None:
    """Fail: with a code as a CommandError, without one as a ValueError. The worker lives on."""
    if code:
        raise CommandError(code, message)
    raise ValueError(message)


@command
def crash(code: int = 3) -> None:
    """End the worker process on the spot. The service answers 502 and starts another."""
    print(f"crash: leaving with exit code {code}")
    os._exit(code)
