"""One thing at a time, in order, from any thread and from within signal handlers."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Callable, Deque, Final, Generic, Optional, TypeVar

if TYPE_CHECKING:
    from ._cancel import Scope

T = TypeVar("T")

_PATIENCE: Final = 0.5
"""Seconds that put waits for a thread which is in the midst of an item."""


def _no_scope() -> Optional[Scope]:
    return None


class Gate:
    """What those have in common whose functions put into one another.

    Attributes:
        lock: By which threads take turns.
        scope: Returns the scope of the call whose code runs in this thread, if any: no cancel comes in the midst of an item.
    """

    __slots__ = ("lock", "scope")

    def __init__(self, scope: Callable[[], Optional[Scope]] = _no_scope) -> None:
        self.lock = threading.RLock()
        self.scope = scope


class Turns(Generic[T]):
    """Hands items to one function, one after another.

    Threads take turns by a lock. A signal handler, or a finaliser run by the garbage collector, can come back in
    while its own thread is in the midst of an item: its item is then queued, and the outer call handles it.

    Such a handler is code of the app, and may wait for a lock of the app while this one is held. So who comes here
    with that lock in hand must not wait for ever: it leaves its item to the thread that is at it.
    """

    __slots__ = ("_busy", "_gate", "_handle", "_lock", "_owned", "_queue")

    def __init__(self, handle: Callable[[T], None], gate: Gate) -> None:
        self._handle = handle
        self._gate = gate
        self._lock = gate.lock
        self._owned: Callable[[], bool] = getattr(gate.lock, "_is_owned")  # as threading.Condition asks it
        self._queue: Deque[T] = deque()
        self._busy = False  # guarded by _lock

    def put(self, item: T) -> None:
        """Handle item when its turn comes, which is before the return in all but the cases that the class names.

        Raises:
            Cancelled: A cancel came meanwhile; the item is handled.
        """
        scope = self._gate.scope()
        if scope is None:
            self._put(item)
            return
        scope.enter()
        try:
            self._put(item)
        finally:
            scope.leave()

    def _put(self, item: T) -> None:
        queue, lock = self._queue, self._lock
        queue.append(item)
        if not (lock.acquire(False) or lock.acquire(timeout=_PATIENCE)):
            return
        try:
            # Asked again after _busy is False: a handler that came in just before has left its item here.
            while queue and not self._busy:
                self._busy = True
                try:
                    while queue:
                        self._handle(queue.popleft())
                finally:
                    self._busy = False
        finally:
            lock.release()

    def settle(self, item: T) -> None:
        """Put item, and have all items handled on return. For the main thread, and not from within another call.

        What a signal handler raises can break put off between any two steps, so that _busy stays set or the lock
        taken; here both are put right.
        """
        with self._lock:
            self._busy = False
            self._put(item)
        while self._owned():
            self._lock.release()
