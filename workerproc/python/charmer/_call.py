"""The call that runs, as user code sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic
from typing import Any, Dict, Final, Optional, Tuple

from ._cancel import Scope
from ._calls import CALL, Running
from ._registry import REGISTRY

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Call:
    """One run of a command.

    Attributes:
        request_id: Id of the request, as in the logs and the reply.
        session_id: Id of the session, or None.
        session_state: "new" in the first call of a session, then "resumed"; None without a session.
        command: Name of the command; in a session hook "session_start" or "session_end".
        deadline: When the call is cancelled, on the clock of time.monotonic(), in seconds.
        traceparent: W3C trace context of the request, or None.
    """

    __slots__ = ("_id", "command", "deadline", "request_id", "session_id", "session_state", "traceparent")

    request_id: str
    session_id: Optional[str]
    session_state: Optional[str]
    command: str
    deadline: float
    traceparent: Optional[str]
    _id: int

    @property
    def cancelled(self) -> bool:
        """Whether the call has been asked to stop: for code in a shield, or in a thread, to look at."""
        return REGISTRY.calls.is_asked(self._id)

    def remaining(self) -> float:
        """Return the seconds until the deadline, never less than 0."""
        return max(0.0, self.deadline - monotonic())


def current() -> Call:
    """Return the call that runs here: that of this context, or in a plain thread the one that the worker runs.

    Raises:
        RuntimeError: No call runs.
    """
    envelope, arrived, call_id = _running("current")
    session: Dict[str, Any] = envelope.get("session") or {}
    timeout_ms = envelope.get("timeout_ms")
    return Call(
        request_id=envelope.get("request_id", ""),
        session_id=session.get("id"),
        session_state=session.get("state"),
        command=envelope.get("command") or envelope.get("hook", ""),
        deadline=arrived + timeout_ms / 1000 if timeout_ms is not None else math.inf,
        traceparent=envelope.get("traceparent"),
        _id=call_id,
    )


def progress(fraction: Optional[float] = None, message: Optional[str] = None) -> None:
    """Tell the caller how far the call is.

    Args:
        fraction: Of 0 to 1, or None.
        message: What is being done, in a line of at most 8 KiB, or None.

    Raises:
        RuntimeError: No call runs here.
        TypeError: An argument is of another type, or there is none.
        ValueError: fraction is not of 0 to 1.
    """
    if fraction is None and message is None:
        raise TypeError("charmer.progress() takes a fraction, a message, or both")
    if message is not None and not isinstance(message, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"message of charmer.progress() is a string, not {message!r}")
    done = None if fraction is None else _fraction(fraction)
    call_id = _running("progress")[2]
    REGISTRY.tell_progress(done, message, call_id)


def log(message: str, level: str = "info") -> None:
    """Say something to the caller: an event of the stream if the call has one, and in the log of the service.

    Args:
        message: Text; each of its lines is one event, cut to 8 KiB.
        level: "debug", "info", "warning", "error" or "critical".

    Raises:
        RuntimeError: No call runs here.
        TypeError: message is no string.
        ValueError: level is none of the five.
    """
    if not isinstance(message, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"message of charmer.log() is a string, not {message!r}")
    if level not in _LEVELS:
        raise ValueError(f"level of charmer.log() is one of {', '.join(_LEVELS)}, not {level!r}")
    call_id = _running("log")[2]
    REGISTRY.tell_event(level, message, call_id)


class Shield:
    """Keeps a cancel of the call out of a block of its code; see shield."""

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered: Tuple[Tuple[Scope, int], ...] = ()

    def __enter__(self) -> None:
        scope = REGISTRY.calls.here()
        if scope is not None:
            self._entered += ((scope, scope.call_id),)
            scope.enter()

    def __exit__(self, *exc: object) -> None:
        if not self._entered:
            return
        scope, call_id = self._entered[-1]
        self._entered = self._entered[:-1]
        if scope.call_id == call_id:  # else the call in which it was opened has ended
            scope.leave()


def shield() -> Shield:
    """Return a context manager: a cancel that comes inside of it waits for its end, and is raised there.

    It counts where the code of the call runs; in threads that this starts nothing is raised anyway. Shields can be
    nested: then it is the end of the outermost that raises.
    """
    return Shield()


def _running(name: str) -> Running:
    running = CALL.get() or REGISTRY.running
    if running is None or running[2] < 0:  # a batch is of several calls
        raise RuntimeError(f"charmer.{name}() works inside of a call only, and none runs here")
    return running


def _fraction(fraction: object) -> float:
    if isinstance(fraction, (str, bytes, bool)):
        raise TypeError(f"fraction of charmer.progress() is a number, not {fraction!r}")
    try:
        number = float(fraction)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"fraction of charmer.progress() is a number, not {fraction!r}") from None
    if not 0 <= number <= 1:
        raise ValueError(f"fraction of charmer.progress() is of 0 to 1, not {fraction!r}")
    return number
