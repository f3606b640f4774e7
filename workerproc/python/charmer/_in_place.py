"""Runs calls in whatever interpreter this is, which need be no worker: for charmer.testing."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, AsyncGenerator, Callable, Coroutine, Dict, Final, Iterator, List, Optional, cast

from ._batch import misshapen
from ._calls import Running
from ._classes import is_a
from ._commands import ASYNC_GENERATOR, COROUTINE, Command
from ._frames import FrameWriter
from ._output import Output
from ._registry import REGISTRY
from ._run import Runner
from ._stream import Reply

_MAX_FRAME: Final = 64 * 1024 * 1024


class InPlace(Runner):
    """Runs one call at a time. failure: what the last one raised."""

    def __init__(self) -> None:
        silent = SimpleNamespace(pending=False)
        writer: Any = SimpleNamespace(forked=False)
        output: Any = SimpleNamespace(out=silent, err=silent, restore=_nothing, end_lines=_nothing)
        super().__init__(REGISTRY, cast(FrameWriter, writer), cast(Output, output), _MAX_FRAME)
        self.failure: Optional[BaseException] = None

    def _perform(self, command: Command, args: Dict[str, Any], running: Running) -> Reply:
        around = self._registry.running, self._main.call_id
        try:
            return super()._perform(replace(command, function=_plain(command)), args, running)
        finally:
            self._registry.running, self._main.call_id = around

    def _failed(self, exc: BaseException, thrown: bool) -> Reply:
        self.failure = exc
        return super()._failed(exc, thrown)


def _plain(command: Command) -> Callable[..., object]:
    """Return a plain function, or generator, that does what the function of a command does."""
    function: Any = command.function
    run: Callable[..., Any] = partial(_finish, function) if command.kind == COROUTINE else function
    if command.batch:
        return lambda **args: _only(run([args]))
    return partial(_items, function) if command.kind == ASYNC_GENERATOR else run


def _only(results: object) -> object:
    fault = misshapen(results, 1)
    if fault is not None:
        raise fault
    (result,) = cast("List[object]", results)
    if is_a(result, Exception):
        raise result
    return result


def _finish(function: Callable[..., Coroutine[Any, Any, object]], *args: object, **more: object) -> object:
    """Run a coroutine to its end, in a thread of its own if a loop runs in this one."""
    work = partial(asyncio.run, function(*args, **more))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    ended: List[Callable[[], object]] = []

    def run() -> None:
        try:
            result = work()
            ended.append(lambda: result)
        except BaseException as exc:
            ended.append(partial(_raise, exc))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    return ended[0]()


def _items(function: Callable[..., AsyncGenerator[object, None]], *args: object, **more: object) -> Iterator[object]:
    async def collect() -> List[object]:
        return [item async for item in function(*args, **more)]

    yield from cast("List[object]", _finish(collect))


def _raise(exc: BaseException) -> None:
    raise exc


def _nothing() -> None:
    pass
