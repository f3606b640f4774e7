"""Serving calls side by side: async ones as tasks of one event loop, plain ones in threads, or alone on the loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, AsyncGenerator, Awaitable, Callable, Deque, Dict, Final, Generator, Optional, Tuple, cast

from . import _guard
from ._args import place
from ._batch import Batches
from ._calls import CALL, Running
from ._cancel import Cancelled, NotStarted, Scope
from ._classes import is_a
from ._commands import ASYNC_GENERATOR, COROUTINE, Command
from ._encode import result_encoder
from ._failure import exit_code, is_exit, traceback_text
from ._frames import CALL as CALL_FRAME
from ._frames import PING, PONG, RESULT, Frame, FrameError, Splitter, read_some
from ._pool import CreditWait, Report, Threads, ThreadScope
from ._registry import REGISTRY
from ._run import Runner, leave_child
from ._stream import Reply, encode_value, make_outlet, pump
from ._task import TaskScope, pump_async

if TYPE_CHECKING:
    from ._process import Process

Prepared = Tuple[Command, Dict[str, Any], Running]
"""A call that has been read and fits its command."""

_LATER: Final[Reply] = (0, b"")
"""Stands for the reply of a call that has begun and is answered later."""

_EXIT_INTERRUPTED: Final = 130

_AT_ONCE: Final = 32
"""Reads one after another before the loop has its turn, of calls that run alone and so leave nothing for it to do."""


class Server(Runner):
    """Owns the loop, and the calls that are open on it. All of it runs in the main thread but `_in_thread`."""

    def __init__(self, process: Process, stray: Callable[[BaseException], None]) -> None:
        """Args: stray: Told what a signal handler of the app raised in between; it may raise to end the worker."""
        super().__init__(REGISTRY, process.writer, process.output, process.max_frame)
        self._cancels = (Cancelled, asyncio.CancelledError)
        self._process = process
        self._stray = stray
        self._loop = _new_loop()
        self._context = contextvars.copy_context()
        self._splitter = Splitter(process.max_frame)
        self._threads = Threads()
        self._batches = Batches(self)
        self._reading = True
        self._queue: Deque[Frame] = deque()  # calls that were read ahead of their turn
        self._held: Optional[Prepared] = None  # the first of them, if it waits for the end of others
        self._running: Dict[int, Prepared] = {}  # those that are open

    def serve(self) -> int:
        """Answer calls until STOP or end of input, or a call that raises SystemExit; return the exit code."""
        loop, control = self._loop, self._calls.control
        _be_current(loop)
        self._writer.whose = self._whose
        os.set_blocking(_guard.FRAMES_IN, False)
        loop.add_reader(_guard.FRAMES_IN, self._guarded, self._on_frames)
        if control.fd >= 0:
            loop.add_reader(control.fd, self._guarded, self._on_control)
        while not self._is_done():
            try:
                loop.run_forever()
            except BaseException as exc:
                self._broken_off(exc)
            self.end_child(None)
            if loop.is_closed():
                self._process.words.die("the app has closed the event loop")
        return self.exit_code or 0

    def close(self) -> None:
        """Cancel what tasks are left, and close what async generators are."""
        loop = self._loop
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        except BaseException as exc:
            self._output.log_lines("error", ["at the end of the event loop", *traceback_text(exc).splitlines()])

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, for what runs on it beside this."""
        return self._loop

    def start_task(self, scope: TaskScope, run: Callable[[], Awaitable[None]], lost: Callable[[], None]) -> None:
        """Run something in a task of its own.

        Args:
            scope: Gets the task.
            run: What to run; it raises nothing.
            lost: Run in the end, for something may have kept the task from running at all.
        """
        make = partial(asyncio.Task, cast("Any", run()), loop=self._loop)  # past a task factory of the app
        task: asyncio.Task[None] = self._context.copy().run(make)
        scope.task = task
        task.add_done_callback(lambda _: self._guarded(lost), context=self._context)

    def start_thread(self, job: Callable[[], Report]) -> None:
        """Run a job in a thread, with a copy of the context that the worker began with; see Threads.run."""
        self._threads.run(partial(self._context.copy().run, job))

    def call_later(self, step: Callable[..., None], *args: object) -> None:
        """Have something run on the loop, from any thread and from within signal handlers."""
        self._loop.call_soon_threadsafe(self._guarded, partial(step, *args), context=self._context)

    def in_a_while(self, seconds: float, step: Callable[[], None]) -> asyncio.TimerHandle:
        """Have something run on the loop after some seconds."""
        return self._loop.call_later(seconds, self._guarded, step, context=self._context)

    def end_child(self, failure: Optional[BaseException]) -> None:
        """End this process if the app forked it in a call, which has raised failure or returned."""
        if self._writer.forked:
            leave_child(failure)

    def reply_to(self, exc: BaseException, thrown: bool) -> Reply:
        """Make the reply to a call out of which exc came; see Runner."""
        return self._after(exc, thrown)

    def encode(self, value: object, encode: Optional[Callable[[object], str]] = None) -> Reply:
        """Make the reply of a result. encode: as result_encoder makes it, where this is not the main thread."""
        try:
            return RESULT, encode_value(encode or self._encode, value, self._max_frame, "result")
        except BaseException as exc:
            return self._after(exc, False)

    def finish(self, call_id: int, reply: Reply) -> None:
        """Answer a call that is open; a second answer is dropped."""
        if self._running.pop(call_id, None) is None:
            return
        self._calls.open.pop(call_id, None)
        self._calls.asked.discard(call_id)
        self._output.end_lines_of(call_id)
        self._writer.reply(reply[0], reply[1], call_id)
        self._note_sole()
        if self._queue or self._held or not self._reading or self.exit_code is not None:
            self._loop.call_soon(self._guarded, self._advance, context=self._context)

    def _perform(self, command: Command, args: Dict[str, Any], running: Running) -> Reply:
        prepared = (command, args, running)
        if not self._may_begin(command):
            self._held = prepared
            return _LATER
        return self._begin(prepared)

    def _may_begin(self, command: Command) -> bool:
        return not self._running or len(self._running) < command.concurrency and not self._runs_alone()

    def _runs_alone(self) -> bool:
        return len(self._running) == 1 and next(iter(self._running.values()))[0].concurrency == 1

    def _begin(self, prepared: Prepared) -> Reply:
        command, args, running = prepared
        if command.concurrency == 1 and command.kind not in (COROUTINE, ASYNC_GENERATOR):
            return self._run_inline(prepared)
        call_id = running[2]
        self._calls.main.call_id = call_id
        try:
            if self._calls.asked:
                self._calls.refuse(call_id)
        except NotStarted as exc:
            return self._failed(exc, True)
        self._running[call_id] = prepared
        self._writer.open.add(call_id)
        self._note_sole()
        try:
            if command.batch:
                self._batches.add(command, args, running)
            elif command.kind in (COROUTINE, ASYNC_GENERATOR):
                task = TaskScope(call_id, self._calls.asked, self._loop)
                self._calls.open[call_id] = task
                lost = partial(self._lost, task)
                self.start_task(task, partial(self._in_task, task, prepared), lost)
            else:
                thread = ThreadScope(call_id, self._calls.asked)
                self._calls.open[call_id] = thread
                self.start_thread(partial(self._in_thread, thread, prepared))
        except Exception as exc:  # no thread is to be had
            self.finish(call_id, self._after(exc, False))
        return _LATER

    def _run_inline(self, prepared: Prepared) -> Reply:
        """Run a call alone in the main thread, as if there were no loop: it may run one of its own."""
        self._writer.running = prepared[2][2]
        asyncio.events._set_running_loop(None)
        try:
            return super()._perform(*prepared)
        finally:
            asyncio.events._set_running_loop(self._loop)
            _be_current(self._loop)

    async def _in_task(self, scope: TaskScope, prepared: Prepared) -> None:
        command, _, running = prepared
        CALL.set(running)
        result, failure = await scope.run(partial(self._work_async, scope, prepared))
        self.finish(running[2], self._make_reply(command, scope, result, failure, self._encode))

    def _work_async(self, scope: TaskScope, prepared: Prepared) -> Awaitable[object]:
        command, args, running = prepared
        value = _invoke(command, args)
        if command.kind != ASYNC_GENERATOR:
            return cast("Awaitable[object]", value)
        outlet = scope.outlet = make_outlet(self._calls, running[0], running[2], self._max_frame)
        return pump_async(cast("AsyncGenerator[object, None]", value), outlet, self._loop)

    def _lost(self, scope: TaskScope) -> None:
        if self._calls.open.get(scope.call_id) is scope:
            self.finish(scope.call_id, self._after(asyncio.CancelledError(), scope.was_thrown()))

    def _in_thread(self, scope: ThreadScope, prepared: Prepared) -> Report:
        command, _, running = prepared
        CALL.set(running)
        result, failure = scope.run(partial(self._work, scope, prepared), self._calls.threads)
        reply = self._make_reply(command, scope, result, failure, result_encoder())
        return partial(self.call_later, self.finish, running[2], reply)

    def _work(self, scope: ThreadScope, prepared: Prepared) -> object:
        command, args, running = prepared
        value = _invoke(command, args)
        if not command.streams:
            return value
        outlet = scope.outlet = make_outlet(self._calls, running[0], running[2], self._max_frame)
        return pump(cast("Generator[object, None, None]", value), outlet, CreditWait(scope, outlet))

    def _make_reply(
        self,
        command: Command,
        scope: Scope,
        result: object,
        failure: Optional[BaseException],
        encode: Callable[[object], str],
    ) -> Reply:
        self.end_child(failure)
        if failure is not None:
            return self._after(failure, scope.was_thrown())
        if command.streams:
            return cast("Reply", result)
        return self.encode(result, encode)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run a step of this class as a callback of the loop, which would go on whatever it raises."""
        self.end_child(None)
        try:
            step()
        except FrameError as exc:
            self._process.words.die(str(exc))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._process.words.die(traceback_text(exc))

    def _on_control(self) -> None:
        self._calls.control.drain()
        if self._calls.control.ended:
            self._loop.remove_reader(_guard.CONTROL)
        self._calls.consider(None)

    def _on_frames(self) -> None:
        for _ in range(_AT_ONCE):
            data = read_some(_guard.FRAMES_IN, self._stray)
            if data is None:
                return
            if not data:
                self._splitter.end()
                self._stop_reading()
            for frame in self._splitter.feed(data):
                if frame[0] == CALL_FRAME:
                    self._queue.append(frame)
                elif frame[0] == PING:
                    self._writer.reply(PONG, b"", frame[1])
                else:
                    self._stop_reading()
                    break
            self._advance()
            if not self._reading or self._running or self._queue or self._held:
                return  # what came next is for the loop to say

    def _advance(self) -> None:
        """Begin the calls whose turn it is."""
        while self.exit_code is None:
            if self._held is not None:
                if not self._may_begin(self._held[0]):
                    break
                held, self._held = self._held, None
                call_id, reply = held[2][2], self._begin(held)
            elif self._queue and not self._runs_alone():
                _, call_id, text, arrived = self._queue.popleft()
                reply = self.run(text, arrived, call_id)
            else:
                break
            if reply is not _LATER:
                self._writer.reply(reply[0], reply[1], call_id)
        if self.exit_code is not None:
            self._stop_reading()
        if self._is_done():
            self._loop.stop()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(_guard.FRAMES_IN)

    def _is_done(self) -> bool:
        if self._reading or self._running:
            return False
        return self.exit_code is not None or not (self._queue or self._held)

    def _broken_off(self, exc: BaseException) -> None:
        """Deal with what came out of the loop: from a signal handler of the app, or a task that is no call."""
        if not is_exit(exc) and not is_a(exc, KeyboardInterrupt):
            self._stray(exc)
            return
        if self.exit_code is None:
            self.exit_code = exit_code(exc) if is_exit(exc) else _EXIT_INTERRUPTED
        self._stop_reading()

    def _note_sole(self) -> None:
        """Note the one call that runs, for what has no context of its own, such as threads that it starts."""
        sole = next(iter(self._running.values())) if len(self._running) == 1 else None
        self._registry.running = None if sole is None or sole[0].batch else sole[2]
        self._writer.running = sole[2][2] if sole is not None else 0

    def _whose(self) -> int:
        running = CALL.get()
        if running is None or running[2] < 0:
            return self._writer.running
        call_id = running[2]
        return call_id if call_id in self._writer.open or call_id == self._writer.running else 0


def _invoke(command: Command, args: Dict[str, Any]) -> object:
    convert = command.types.convert
    if convert is not None:
        convert(args)
    if command.positional:
        by_position, by_name = place(command, args)
        return command.function(*by_position, **by_name)
    return command.function(**args)


def _be_current(loop: asyncio.AbstractEventLoop) -> None:
    try:
        asyncio.set_event_loop(loop)
    except Exception:  # a policy of the app refuses; get_running_loop works all the same
        pass


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop, uvloop's where it is installed, whatever policy the app has set."""
    try:
        import uvloop  # type: ignore[import-not-found, unused-ignore]

        return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())
    except Exception:
        return asyncio.SelectorEventLoop()
