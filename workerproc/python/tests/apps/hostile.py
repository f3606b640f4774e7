"""Commands of an app that turns against the runtime that serves it."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
import traceback
from types import ModuleType
from typing import Any, Callable, Dict, List
from unittest import mock

from charmer import CommandError, command, current


def refuse(_: object) -> Any:
    raise ZeroDivisionError("refused")


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        refuse(cls)


class Masked(Exception):
    __class__ = property(refuse)


class Nameless(Exception, metaclass=Meta):
    pass


class Closed(SystemExit):
    code = property(refuse)


class MaskedExit(SystemExit):
    __class__ = property(refuse)


class Fickle(CommandError):
    """Its status is within bounds when it is first asked for, and not thereafter."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__("fickle", "it depends")

    @property
    def status(self) -> int:
        self.asked += 1
        return 404 if self.asked == 1 else 99

    @status.setter
    def status(self, value: int) -> None:
        pass


class BrokenCall(OSError):
    errno = property(refuse)
    __class__ = property(refuse)


class Rude(Exception):
    def __str__(self) -> str:
        return str(refuse(self))


class Hidden:
    __class__ = property(refuse)


class HiddenClass(metaclass=Meta):
    pass


class ClosedDict(Dict[str, object]):
    def items(self) -> Any:
        raise Rude


class TornDict(Dict[str, object]):
    def items(self) -> Any:
        return [1, 2]


class BadKey(int):
    def __str__(self) -> str:
        return str(refuse(self))


class ClosedList(List[object]):
    def __iter__(self) -> Any:
        raise Rude


PATCHED: Dict[ModuleType, str] = {
    json: "dumps loads JSONDecodeError JSONDecoder JSONEncoder decoder encoder",
    math: "inf isfinite isinf",
    os: "_exit close read readv write writev",
    sys: "exit getrecursionlimit setrecursionlimit",
    time: "monotonic time",
    traceback: "format_exception",
}

RETURNED: Dict[str, Callable[[], object]] = {
    "mock of a dict": lambda: [mock.Mock(spec=dict)],
    "mock of a list": lambda: mock.Mock(spec=list),
    "mock of an int as key": lambda: {mock.Mock(spec=int): 1},
    "hidden": lambda: {"a": Hidden()},
    "hidden class": lambda: [HiddenClass()],
    "closed dict": lambda: [ClosedDict(a=1)],
    "torn dict": lambda: [TornDict(a=1)],
    "bad key": lambda: {"rows": {BadKey(1): float("nan")}},
    "closed list": lambda: [ClosedList([1])],
    "key to quote": lambda: {"a b": [float("nan")]},
}

RAISED: Dict[str, Callable[[], BaseException]] = {
    "masked": Masked,
    "nameless": Nameless,
    "closed exit": Closed,
    "masked exit": lambda: MaskedExit(3),
    "plain": lambda: ValueError("plain"),
    "exit": lambda: SystemExit(3),
    "great exit": lambda: SystemExit(1 << 100),
    "fickle": Fickle,
    "broken call": BrokenCall,
}


@command
def echo(value: object) -> object:
    return value


@command
def returns(what: str) -> object:
    return RETURNED[what]()


@command
def raises(what: str) -> None:
    raise RAISED[what]()


@command
def raises_in_child(what: str) -> int:
    """Return the exit code of a forked child that raises."""
    pid = os.fork()
    if pid == 0:
        raise RAISED[what]()
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])


@command
def raises_later(what: str) -> None:
    """Leave an alarm behind whose handler raises, so that it rings between calls."""

    def ring(*_: object) -> None:
        raise RAISED[what]()

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02)


@command
def patch() -> None:
    """Take away what the runtime might call."""
    for module, names in PATCHED.items():
        for name in names.split():
            setattr(module, name, None)


@command
def remaining() -> float:
    return current().remaining()


@command
def lower_recursion_limit() -> None:
    limit(100)


limit = sys.setrecursionlimit
