"""Commands of an app that turns against the runtime that serves it."""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Dict, List
from unittest import mock

from charmer import CommandError, command


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
}

RAISED: Dict[str, Callable[[], BaseException]] = {
    "masked": Masked,
    "nameless": Nameless,
    "closed exit": Closed,
    "masked exit": lambda: MaskedExit(3),
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
