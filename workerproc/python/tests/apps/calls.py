"""Commands that return, raise and end in every way the tests need."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import os
import signal
import sys
import threading
import time
from typing import Any, Dict, List

import charmer
from charmer import CommandError, command


class Level(enum.IntEnum):
    LOW = 1


class Colour(str, enum.Enum):
    RED = "red"


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Renamed(CommandError):
    def __init__(self) -> None:
        super().__init__("gone", "it is gone", status=410)
        self.status = 503


class Subclassed(CommandError):
    pass


class Evil(Dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("items refuses")


@command
def echo(value: object) -> object:
    return value


@command
def size(text: str) -> int:
    return len(text)


@command
def blob(size: int) -> str:
    return "x" * size


@command
def mixed(a: int, b: int = 2, /, c: int = 3, *, d: int = 4, **rest: int) -> List[object]:
    return [a, b, c, d, rest]


@command
def hidden(a: int = 1, /, *ignored: int, **rest: int) -> List[object]:
    return [a, list(ignored), rest]


@command
def divide(a: float, b: float) -> float:
    return a / b


@command
def coded(code: str = "not_in_catalogue", status: int = 404) -> None:
    raise CommandError(code, "not sold here", status=status)


@command
def coded_badly() -> None:
    raise Renamed


@command
def coded_below() -> None:
    raise Subclassed("below", "from a subclass")


@command
def returns(what: str) -> object:
    cycle: Dict[str, Any] = {"a": [1, {}]}
    cycle["a"][1]["self"] = cycle["a"]
    deep: List[Any] = []
    for _ in range(50_000):
        deep = [deep]
    shared: List[int] = [1]
    values: Dict[str, object] = {
        "nan": {"rows": [0, 1, 2, {"score": float("nan")}]},
        "infinity": [float("-inf")],
        "complex": {"a b": {1j}},
        "object": [object()],
        "class": {"x": threading.Thread},
        "cycle": cycle,
        "deep": deep,
        "surrogate": {"text": "a\ud800"},
        "surrogate key": [{"\udc00": 1}],
        "tuple key": {"m": {(1, 2): 3}},
        "nan key": {float("nan"): 1},
        "huge": {"n": 10**5000},
        "generator": (n for n in range(3)),
        "evil": Evil(a=1),
        "good": {
            1: (1, 2),
            None: None,
            True: Level.LOW,
            2.5: Colour.RED,
            "shared": [shared, shared],
            "empty": [(), {}, [], ""],
        },
    }
    return values[what]


@command
def nested(levels: int, text: str = "", wide: int = 0) -> List[Any]:
    """Return lists in one another, whatever recursion that takes, with a text and some lists beside them."""
    value: List[Any] = [text, *([] for _ in range(wide))]
    for _ in range(levels - 1):
        value = [value]
    sys.setrecursionlimit(1_000_000)
    return value


@command
def raises(what: str) -> None:
    errors: Dict[str, BaseException] = {
        "rude": Rude(),
        "exit": SystemExit(3),
        "exit text": SystemExit("good bye"),
        "exit none": SystemExit(),
        "interrupt": KeyboardInterrupt(),
        "generator exit": GeneratorExit(),
        "cancelled": asyncio.CancelledError(),
        "memory": MemoryError(),
        "surrogate": ValueError("a\ud800b"),
        "long": ValueError("x" * 100_000),
        "base": BaseException("base"),
    }
    raise errors[what]


@command
def recurse(n: int = 0) -> int:
    return recurse(n + 1) + 1


@command
def bounce(n: int = 0) -> int:
    return _back(n + 1) + 1


def _back(n: int) -> int:
    return bounce(n + 1) + 1


@command
def chained() -> None:
    try:
        raise KeyError("first")
    except KeyError as exc:
        raise ValueError("second") from exc


@command
def about() -> Dict[str, object]:
    call = charmer.current()
    return {
        "request_id": call.request_id,
        "session": [call.session_id, call.session_state],
        "command": call.command,
        "traceparent": call.traceparent,
        "remaining": call.remaining(),
        "ahead": call.deadline - time.monotonic(),
    }


@command
def about_in_threads() -> List[str]:
    seen: List[str] = []

    def look() -> None:
        seen.append(charmer.current().request_id)

    context = contextvars.copy_context()
    for target in (look, lambda: context.run(look)):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    return seen


@command
def alarm_later() -> None:
    """Leave an alarm behind whose handler raises, so that it rings between calls."""

    def ring(*_: object) -> None:
        raise TimeoutError("rang")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02)


@command
def exit_on_term() -> None:
    def end(*_: object) -> None:
        sys.exit(5)

    signal.signal(signal.SIGTERM, end)


@command
def where() -> Dict[str, object]:
    return {
        "argv": sys.argv,
        "name": __name__,
        "first": sys.path[0],
        "registered": __name__ in sys.modules,
        "cwd": os.getcwd(),
    }


@command
def leave(code: int) -> None:
    os._exit(code)
