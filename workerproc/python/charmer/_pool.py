"""Threads for plain commands that run side by side, and how a call in one of them is cancelled."""

from __future__ import annotations

import ctypes
import sys
import threading
from _thread import get_ident
from functools import partial
from queue import SimpleQueue
from time import sleep
from types import FrameType
from typing import Any, Callable, Dict, Final, List, Optional, Set, Tuple, Type

from ._cancel import Cancelled, NotStarted, Scope, in_finaliser
from ._stream import Outlet

Report = Callable[[], object]
Job = Callable[[], Report]
"""What a thread does, and what it then says, once it can be given another."""

_STEPS: Final = 3
_set_async_exc: Final[Any] = ctypes.pythonapi.PyThreadState_SetAsyncExc
_sleep: Final = sleep


class ThreadScope(Scope):
    """That of a call in a thread: Cancelled is set for it from the main thread, and comes out at its next bytecode.

    Only who has taken the one right to raise does so. The thread takes it at the end of the call, so that nothing is set
    for the next one. All of this goes without a lock, since what was set can come out at any step, also of this here.
    """

    __slots__ = ("_armed", "_asked", "_ident", "_right", "_thrown")

    in_main = False

    def __init__(self, call_id: int, asked: Set[int]) -> None:
        """Args: asked: Ids of the calls that are to end, shared with Calls."""
        super().__init__(call_id)
        self._armed = False
        self._asked = asked
        self._ident = 0
        self._right: List[None] = []
        self._thrown = False

    def run(self, work: Callable[[], object], threads: Dict[int, Scope]) -> Tuple[object, Optional[BaseException]]:
        """Run the code of the call in this thread.

        Args:
            work: The code.
            threads: Where this is found meanwhile, by the ident of the thread.

        Returns:
            What the code returned, and what it raised, if anything.
        """
        result: object = None
        failure: Optional[BaseException] = None
        try:
            try:
                self._arm(threads)
                result = work()
            except BaseException as exc:
                failure = exc
            self._disarm()
        except BaseException as exc:  # the cancel, at last
            failure = exc
            self._disarm()
        threads.pop(self._ident, None)
        return result, failure

    def _arm(self, threads: Dict[int, Scope]) -> None:
        self._ident = get_ident()
        threads[self._ident] = self
        self._armed = True
        self._right.append(None)
        if self.call_id in self._asked and self._take():
            self._thrown = True
            raise NotStarted

    def _disarm(self) -> None:
        """End the call. What was set for it comes out at the latest here.

        It is not taken back: up to CPython 3.12 that would leave the interpreter looking for it at every step, for ever, and
        CPython 3.11 would hang at the next call of a function while a trace function is set.
        """
        while self._armed and not self._thrown and not self._take():
            _sleep(0)
        self._armed = False
        if self._thrown:
            try:
                _let_out()
            except Cancelled:  # too late: the code has ended
                pass

    def throw(self, frame: Optional[FrameType]) -> Optional[Type[Cancelled]]:
        if self.shields or not self._take():
            return None
        try:
            if not self.shields:  # none was opened just now, whose end sees to it
                _set_async_exc(ctypes.c_ulong(self._ident), ctypes.py_object(Cancelled))
                self._thrown = True
        finally:
            if not self._thrown:
                self._right.append(None)
        return None

    def was_thrown(self) -> bool:
        return self._thrown

    def enter(self) -> None:
        self.shields += 1
        try:
            self._settle()
        except BaseException:  # it was set before
            self.shields -= 1
            raise

    def leave(self) -> None:
        self.shields -= 1
        if self.call_id in self._asked and not self.shields and not in_finaliser(sys._getframe()):
            self._settle()
            if self._armed and self._take():
                self._thrown = True
                raise Cancelled

    def _settle(self) -> None:
        """Wait for a throw that is under way, some steps of the main thread long, and have what it has set come out."""
        while self._armed and not self._thrown and not self._right:
            _sleep(0)
        if self._thrown:
            _let_out()

    def _take(self) -> bool:
        try:
            self._right.pop()
        except IndexError:
            return False
        return True


def _let_out() -> None:
    """Have what was set for this thread come out."""
    for _ in range(_STEPS):
        pass


class CreditWait:
    """Lets a thread wait until its outlet may send. A cancel that comes meanwhile is raised at the end of it."""

    def __init__(self, scope: Scope, outlet: Outlet) -> None:
        self._scope = scope
        self._bell: SimpleQueue[None] = SimpleQueue()  # which a signal handler may ring while it is being rung
        outlet.wake = partial(self._bell.put, None)

    def __call__(self, outlet: Outlet) -> None:
        self._scope.enter()
        try:
            while outlet.must_wait():
                self._bell.get()
        finally:
            self._scope.leave()


class Threads:
    """Threads that are kept for the next call. Used from the main thread."""

    def __init__(self) -> None:
        self._idle: List[SimpleQueue[Job]] = []
        self._count = 0

    def run(self, job: Job) -> None:
        """Run a job in a thread that is idle, or in a new one.

        Raises:
            RuntimeError: The system gives no more threads.
        """
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            self._count += 1
            name = f"charmer call {self._count}"
            threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True).start()
        inbox.put(job)

    def _work(self, inbox: SimpleQueue[Job]) -> None:
        while True:
            report = inbox.get()()
            self._idle.append(inbox)
            report()
            del report  # what it holds is not kept until the next
