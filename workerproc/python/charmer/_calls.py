"""The calls that are open: which is meant here, which are to end, and who hears of it."""

from __future__ import annotations

from _thread import get_ident
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, Dict, Final, Optional, Set, Tuple

from ._cancel import MainScope, NotStarted, Scope, in_finaliser
from ._control import CANCEL, CREDIT, Control
from ._raise import raise_in

if TYPE_CHECKING:
    from ._frames import FrameWriter
    from ._stream import Outlet

Running = Tuple[Dict[str, Any], float, int]
"""A call that runs: the envelope of its CALL frame, when that was read (monotonic seconds), and its id."""

CALL: Final[ContextVar[Optional[Running]]] = ContextVar("charmer_call", default=None)


class Calls:
    """Owns what is known of calls that are to end. All but `here` and `is_asked` is for the main thread.

    Attributes:
        asked: Ids of calls that are to end: those that are open, and any above the last that has begun.
        main: The scope of calls that run alone in the main thread.
        open: The scopes of calls that run side by side, by id.
        threads: Those of them that run in a thread of their own, by its ident.
        writer: Where frames of the calls go; None outside of a worker.
    """

    def __init__(self) -> None:
        self.asked: Set[int] = set()
        self.main = MainScope(self.asked)
        self.open: Dict[int, Scope] = {}
        self.threads: Dict[int, Scope] = {}
        self.control = Control(self._take)
        self.writer: Optional[FrameWriter] = None
        self._main_ident = get_ident()

    def cut_off(self) -> None:
        """Forget all, in a child that the app forked."""
        self.control.close()
        self.main.armed = 0
        self.open.clear()
        self.threads.clear()
        self.asked.clear()

    def is_asked(self, call_id: int) -> bool:
        """Tell whether a call has been asked to stop."""
        return call_id in self.asked

    def refuse(self, call_id: int) -> None:
        """Look, when a call begins, whether it was cancelled before; forget those that came too late.

        Raises:
            NotStarted: It was.
        """
        for other in tuple(self.asked):
            if other < call_id and other not in self.open:
                self.asked.discard(other)
        if call_id in self.asked:
            self.main.armed = 0
            raise NotStarted

    def here(self) -> Optional[Scope]:
        """Return the scope of the code that runs in this thread; None if no cancel can reach it."""
        me = get_ident()
        if self.threads:
            scope = self.threads.get(me)
            if scope is not None:
                return scope
        if me != self._main_ident:
            return None
        if self.open:
            running = CALL.get()
            scope = None if running is None else self.open.get(running[2])
            if scope is not None and scope.in_main:
                return scope
        return self.main

    def on_signal(self, number: int, frame: Optional[FrameType]) -> None:
        """Handle cancel_signal: take what has come, and end what is to end.

        Raises:
            Cancelled: In the code of the call that is to end.
        """
        if not self.main.waiting:
            self.control.drain()
            self.consider(frame)

    def consider(self, frame: Optional[FrameType]) -> None:
        """End the calls that have been asked for; see Scope.throw.

        Raises:
            Cancelled: This is the code of one.
        """
        if not self.asked or in_finaliser(frame):
            return
        now = self.main.throw(frame)
        for call_id in tuple(self.asked):
            scope = self.open.get(call_id)
            if scope is not None:
                now = scope.throw(frame) or now
        if now is not None:
            raise_in(frame, now)

    def await_credit(self, outlet: Outlet) -> None:
        """Wait in the main thread until an outlet may send.

        Raises:
            Cancelled: Its call is to end.
        """
        main, control = self.main, self.control
        main.waiting = True  # from here on all packets are left to be seen by the poll
        try:
            while outlet.must_wait() and not control.ended:
                control.wait()
                control.drain()
        finally:
            main.waiting = False
        control.drain()
        self.consider(None)

    def _take(self, kind: int, call_id: int, n: int) -> None:
        scope = self.open.get(call_id)
        if kind == CREDIT:
            if scope is None and call_id == self.main.call_id:
                scope = self.main
            if scope is not None and scope.outlet is not None:
                scope.outlet.grant(n)
        elif kind == CANCEL and (scope is not None or call_id >= self.main.call_id):
            self.asked.add(call_id)
            scope = scope or self.main
            if scope.outlet is not None:
                scope.outlet.wake()
