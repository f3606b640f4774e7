"""Commands that take the arguments of several calls at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Dict, Final, List, Optional, Type, cast

from ._calls import CALL, Running
from ._cancel import Cancelled, NotStarted, Scope
from ._classes import is_a
from ._commands import COROUTINE, Command
from ._pool import Report, ThreadScope
from ._registry import REGISTRY
from ._stream import Refused
from ._task import TaskScope

if TYPE_CHECKING:
    from types import FrameType

    from ._loop import Server

_FIRST_ID: Final = -2
"""Batches have ids of their own, downward from here, where calls have theirs."""


class Member(Scope):
    """One call of a batch: it is answered at once when it is cancelled, and what comes for it then is dropped."""

    __slots__ = ("_queue", "_thrown", "args", "batch")

    in_main = False

    def __init__(self, call_id: int, args: Dict[str, Any], queue: Queue) -> None:
        super().__init__(call_id)
        self.args = args
        self.batch: Optional[Batch] = None
        self._queue = queue
        self._thrown = False

    def throw(self, frame: Optional[FrameType]) -> Optional[Type[Cancelled]]:
        if not self._thrown:
            self._thrown = True
            self._queue.server.call_later(self._queue.drop, self)
        return None

    def was_thrown(self) -> bool:
        return self._thrown

    def leave(self) -> None:
        self.shields -= 1


class Batch:
    """Some calls that run together. scope: that of the function, for when all of them are cancelled."""

    def __init__(self, members: List[Member], scope: Scope) -> None:
        self.members = members
        self.scope = scope

    def args(self) -> List[Dict[str, Any]]:
        """Return what the function takes."""
        return [member.args for member in self.members]


class Batches:
    """The calls that wait for their batch, by command."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._queues: Dict[str, Queue] = {}

    def add(self, command: Command, args: Dict[str, Any], running: Running) -> None:
        """Have a call take part in the next batch of its command."""
        queue = self._queues.get(command.name)
        if queue is None:
            queue = self._queues[command.name] = Queue(self._server, command, len(self._queues))
        queue.add(Member(running[2], args, queue))


class Queue:
    """The batches of one command, one at a time: the next one gathers while one runs."""

    def __init__(self, server: Server, command: Command, number: int) -> None:
        self.server = server
        self._command = command
        self._id = _FIRST_ID - number
        self._waiting: List[Member] = []
        self._due = False  # the first that waits has waited long enough
        self._timer: Optional[asyncio.TimerHandle] = None
        self._batch: Optional[Batch] = None

    def add(self, member: Member) -> None:
        """Take a call in."""
        REGISTRY.calls.open[member.call_id] = member
        self._waiting.append(member)
        if self._timer is None and not self._due:
            self._timer = self.server.in_a_while(self._command.max_wait_ms / 1000, self._come_due)
        self._start_if_due()

    def drop(self, member: Member) -> None:
        """Answer a call that was cancelled; the function is cancelled with the last of its calls."""
        batch = member.batch
        if batch is None:
            if member in self._waiting:
                self._waiting.remove(member)
                self.server.finish(member.call_id, self.server.reply_to(NotStarted(), True))
            return
        self.server.finish(member.call_id, self.server.reply_to(Cancelled(), True))
        if batch is self._batch and all(other.was_thrown() for other in batch.members):
            REGISTRY.calls.asked.add(self._id)
            batch.scope.throw(None)

    def _come_due(self) -> None:
        self._timer = None
        self._due = True
        self._start_if_due()

    def _start_if_due(self) -> None:
        if self._batch is not None or not (self._due or len(self._waiting) >= self._command.batch):
            return
        members, self._waiting = self._waiting[: self._command.batch], self._waiting[self._command.batch :]
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = None, bool(self._waiting)  # they have waited as long as a batch ran
        if members:
            self._start(members)

    def _start(self, members: List[Member]) -> None:
        scope: Scope
        if self._command.kind == COROUTINE:
            scope = task = TaskScope(self._id, REGISTRY.calls.asked, self.server.loop)
        else:
            scope = thread = ThreadScope(self._id, REGISTRY.calls.asked)
        batch = self._batch = Batch(members, scope)
        for member in members:
            member.batch = batch
        REGISTRY.calls.open[self._id] = scope
        try:
            if self._command.kind == COROUTINE:
                lost = partial(self._end, batch, None, asyncio.CancelledError())
                self.server.start_task(task, partial(self._in_task, batch, task), lost)
            else:
                self.server.start_thread(partial(self._in_thread, batch, thread))
        except Exception as exc:  # no thread is to be had
            self._end(batch, None, exc)

    async def _in_task(self, batch: Batch, scope: TaskScope) -> None:
        CALL.set(({}, 0.0, self._id))
        result, failure = await scope.run(partial(cast("Any", self._command.function), batch.args()))
        self.server.end_child(failure)
        self._end(batch, result, failure)

    def _in_thread(self, batch: Batch, scope: ThreadScope) -> Report:
        CALL.set(({}, 0.0, self._id))
        result, failure = scope.run(partial(self._command.function, batch.args()), REGISTRY.calls.threads)
        self.server.end_child(failure)
        return partial(self.server.call_later, self._end, batch, result, failure)

    def _end(self, batch: Batch, result: object, failure: Optional[BaseException]) -> None:
        """Answer the calls of a batch, and begin the next one."""
        if self._batch is not batch:
            return
        self._batch = None
        REGISTRY.calls.open.pop(self._id, None)
        REGISTRY.calls.asked.discard(self._id)
        if failure is None:
            failure = misshapen(result, len(batch.members))
        for number, member in enumerate(batch.members):
            if member.was_thrown():
                continue  # it has been answered, or is about to be
            if failure is not None:
                reply = self.server.reply_to(failure, False)
            else:
                item = cast("List[object]", result)[number]
                reply = self.server.reply_to(item, False) if is_a(item, Exception) else self.server.encode(item)
            self.server.finish(member.call_id, reply)
        self._start_if_due()


def misshapen(result: object, wanted: int) -> Optional[Refused]:
    if not is_a(result, list):
        return Refused(f"a batch of {wanted} calls returned no list of as many results, but a {type(result).__name__}", "TypeError")
    got = list.__len__(result)
    return None if got == wanted else Refused(f"a batch of {wanted} calls returned a list of {got} results", "ValueError")
