"""The call that runs, as user code sees it."""

from __future__ import annotations

import math
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Any, Dict, Final, Optional, Tuple

from ._registry import REGISTRY

Running = Tuple[Dict[str, Any], float]
"""A call that runs: the envelope of its CALL frame, and when that was read (monotonic seconds)."""

CALL: Final[ContextVar[Optional[Running]]] = ContextVar("charmer_call", default=None)


@dataclass(frozen=True)
class Call:
    """One run of a command.

    Attributes:
        request_id: Id of the request, as in the logs and the reply.
        session_id: Id of the session, or None.
        session_state: "new" in the first call of a session, then "resumed"; None without a session.
        command: Name of the command; in a session hook "session_start" or "session_end".
        deadline: When the call is killed, on the clock of time.monotonic(), in seconds.
        traceparent: W3C trace context of the request, or None.
    """

    __slots__ = ("command", "deadline", "request_id", "session_id", "session_state", "traceparent")

    request_id: str
    session_id: Optional[str]
    session_state: Optional[str]
    command: str
    deadline: float
    traceparent: Optional[str]

    def remaining(self) -> float:
        """Return the seconds until the deadline, never less than 0."""
        return max(0.0, self.deadline - monotonic())


def current() -> Call:
    """Return the call that runs here: that of this context, or in a plain thread the one that the worker runs.

    Raises:
        RuntimeError: No call runs.
    """
    running = CALL.get() or REGISTRY.running
    if running is None:
        raise RuntimeError("charmer.current() works inside of a call only, and none runs here")
    envelope, arrived = running
    session: Dict[str, Any] = envelope.get("session") or {}
    timeout_ms = envelope.get("timeout_ms")
    return Call(
        request_id=envelope.get("request_id", ""),
        session_id=session.get("id"),
        session_state=session.get("state"),
        command=envelope.get("command") or envelope.get("hook", ""),
        deadline=arrived + timeout_ms / 1000 if timeout_ms is not None else math.inf,
        traceparent=envelope.get("traceparent"),
    )
