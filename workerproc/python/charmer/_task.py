"""How an async call is cancelled, and how its items wait for credit."""

from __future__ import annotations

import asyncio
import os
import sys
from types import CoroutineType, FrameType
from typing import Any, AsyncGenerator, Awaitable, Callable, Final, Optional, Set, Tuple, Type

from ._calls import CALL
from ._cancel import Cancelled, NotStarted, Scope, in_finaliser
from ._stream import Outlet, Reply

_ASYNCIO: Final = os.path.dirname(asyncio.__file__)


class TaskCancelled(Cancelled, asyncio.CancelledError):
    """What is raised in a task from outside of the loop: whichever of the two its code looks for."""


TaskCancelled.__module__ = Cancelled.__module__
TaskCancelled.__qualname__ = Cancelled.__qualname__


class TaskScope(Scope):
    """That of a call in a task, which is cancelled as any task; if it is the one that runs, it is raised in it at once.

    Attributes:
        task: The task, once it runs.
    """

    __slots__ = ("_armed", "_asked", "_loop", "_thrown", "task")

    def __init__(self, call_id: int, asked: Set[int], loop: asyncio.AbstractEventLoop) -> None:
        """Args: asked: Ids of the calls that are to end, shared with Calls."""
        super().__init__(call_id)
        self._armed = False
        self._asked = asked
        self._loop = loop
        self._thrown = False
        self.task: Optional[asyncio.Task[Any]] = None

    async def run(self, begin: Callable[[], Awaitable[object]]) -> Tuple[object, Optional[BaseException]]:
        """Run the code of the call in this task.

        Args:
            begin: Makes what is awaited. Nothing is raised in it: a coroutine that is made is to be awaited, or closed.

        Returns:
            What the code returned, and what it raised, if anything.
        """
        result: object = None
        failure: Optional[BaseException] = None
        begun: Optional[Awaitable[object]] = None
        try:
            try:
                if self.call_id in self._asked:
                    self._thrown = True
                    raise NotStarted
                begun = begin()
                self._armed = True
                if self.call_id in self._asked and self._due():
                    self._thrown = True
                    raise NotStarted
                result = await begun
            except BaseException as exc:
                failure = exc
            self._armed = False
        except Cancelled as exc:  # raised on the way out of what the code raised
            failure = exc
            self._armed = False
        if failure is not None and type(begun) is CoroutineType:
            begun.close()  # which does nothing to one that has ended
        return result, failure

    def throw(self, frame: Optional[FrameType]) -> Optional[Type[Cancelled]]:
        if not self._due():
            return None
        if frame is None:
            self._deliver()
        elif self._executes() and not frame.f_code.co_filename.startswith(_ASYNCIO):
            self._thrown = True
            if self.task is not None and asyncio.current_task(self._loop) is not self.task:  # but what it has started
                self._loop.call_soon_threadsafe(self.task.cancel)
            return TaskCancelled
        else:
            self._loop.call_soon_threadsafe(self._deliver)
        return None

    def was_thrown(self) -> bool:
        return self._thrown

    def leave(self) -> None:
        if self.shields:
            self.shields -= 1
        if self.call_id in self._asked and self._due() and not in_finaliser(sys._getframe()):
            if asyncio.current_task(self._loop) is self.task:
                self._thrown = True
                raise TaskCancelled
            self._loop.call_soon(self._deliver)

    def _due(self) -> bool:
        return self._armed and not self._thrown and not self.shields

    def _executes(self) -> bool:
        if asyncio.current_task(self._loop) is self.task:
            return True
        running = CALL.get()
        return running is not None and running[2] == self.call_id

    def _deliver(self) -> None:
        if self._due() and self.task is not None:
            self._thrown = True
            self.task.cancel()


async def pump_async(generator: AsyncGenerator[object, None], outlet: Outlet, loop: asyncio.AbstractEventLoop) -> Reply:
    """Send all that an async generator yields, and close it, whatever happens; see pump."""
    try:
        try:
            async for item in generator:
                body = outlet.encode(item)
                if outlet.must_wait():
                    await _credit(outlet, loop)
                outlet.send(body)
        finally:
            await generator.aclose()
    finally:
        await generator.aclose()
    return outlet.reply()


async def _credit(outlet: Outlet, loop: asyncio.AbstractEventLoop) -> None:
    while outlet.must_wait():
        look = loop.create_future()

        def wake(look: asyncio.Future[None] = look) -> None:
            if not look.done():
                loop.call_soon_threadsafe(_set, look)

        outlet.wake = wake
        if outlet.must_wait():
            await look


def _set(look: asyncio.Future[None]) -> None:
    if not look.done():
        look.set_result(None)
