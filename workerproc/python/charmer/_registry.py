"""The decorators, and the registry that they fill."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, Final, List, Literal, Optional, TypeVar, Union, overload

from ._calls import Calls, Running
from ._commands import Command, Function, Options, check_plain, make_command

if TYPE_CHECKING:
    from ._output import Output

F = TypeVar("F", bound=Callable[..., object])

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_GATEWAY: Final = frozenset((502, 503, 504))  # clients and proxies read these as "did not run, try again"


class CommandError(Exception):
    """Raised in a command to answer with a code and an HTTP status of its own choice.

    Args:
        code: For programs; matches `^[a-z][a-z0-9_]{0,63}$`.
        message: For people.
        status: 400 to 599, except 502, 503 and 504, which say that the work has not run.

    Raises:
        ValueError: code or status is not of this form.
    """

    def __init__(self, code: str, message: str, *, status: int = 422) -> None:
        problem = command_error_problem(code, status)
        if problem:
            raise ValueError(problem)
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return str(self.message)


CommandError.__module__ = "charmer"


def command_error_problem(code: object, status: object) -> str:
    """Say what is wrong with the code and the status of a CommandError; empty if nothing is."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return f"code {code!r} of a CommandError does not match ^[a-z][a-z0-9_]{{0,63}}$"
    if type(status) is not int or not 400 <= status <= 599 or status in _GATEWAY:
        return f"status {status!r} of a CommandError is not within 400 and 599, or is 502, 503 or 504"
    return ""


@dataclass(frozen=True)
class Hook:
    """A function to run at a point of a worker's or a session's life, and whether it takes the session's id."""

    __slots__ = ("function", "name", "takes_id")

    name: str
    function: Function
    takes_id: bool


class Registry:
    """What a process has to serve, and what it runs right now."""

    def __init__(self) -> None:
        self.commands: Dict[str, Command] = {}
        self.hooks: Dict[str, List[Hook]] = {"start": [], "stop": [], "session_start": [], "session_end": []}
        self.running: Optional[Running] = None
        """The call that runs, if there is one and no other beside it."""
        self.calls = Calls()
        self.output: Optional[Output] = None
        """Where the app speaks to its callers; None outside of a worker."""

    def tell_progress(self, fraction: Optional[float], message: Optional[str], call_id: int) -> None:
        """Send how far a call is."""
        if self.output is not None:
            self.output.progress(fraction, message, call_id)

    def tell_event(self, level: str, message: str, call_id: int) -> None:
        """Send what the app says to the caller of a call."""
        if self.output is not None:
            self.output.event(level, message, call_id)

    def add_command(self, command: Command) -> None:
        """Register a command.

        Raises:
            ValueError: There is one of this name.
        """
        there = self.commands.get(command.name)
        if there is not None:
            raise ValueError(
                f"command {command.name!r} is registered twice: {_place(there.function)} and {_place(command.function)}"
            )
        self.commands[command.name] = command

    def add_hook(self, event: str, function: Function) -> None:
        """Register a hook.

        Raises:
            TypeError: The function is not plain, or does not fit the event.
        """
        check_plain(function, f"on_{event}")
        accepted = 1 if event.startswith("session_") else 0
        parameters = inspect.signature(function).parameters.values()
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        required = sum(1 for p in parameters if p.default is p.empty and p.kind not in variadic)
        by_position = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.KEYWORD_ONLY)]
        name = getattr(function, "__qualname__", repr(function))
        if required > min(accepted, len(by_position)):
            takes = "no argument, or one, the id of the session" if accepted else "no argument"
            raise TypeError(f"@on_{event}: {name} must take {takes}")
        self.hooks[event].append(Hook(name, function, takes_id=bool(accepted and by_position)))


REGISTRY: Final = Registry()
"""The registry of this process. Decorators need a place that exists before the worker does, so this one object is
the sole state at module level in the whole runtime."""


@overload
def command(function: F, /) -> F: ...
@overload
def command(
    *,
    name: Optional[str] = None,
    timeout: Optional[float] = None,
    idempotent: bool = False,
    isolation: Literal["shared", "fresh"] = "shared",
    concurrency: Optional[int] = None,
    batch: bool = False,
    max_batch: int = 32,
    max_wait_ms: float = 5,
) -> Callable[[F], F]: ...
def command(
    function: Optional[F] = None,
    /,
    *,
    name: Optional[str] = None,
    timeout: Optional[float] = None,
    idempotent: bool = False,
    isolation: Literal["shared", "fresh"] = "shared",
    concurrency: Optional[int] = None,
    batch: bool = False,
    max_batch: int = 32,
    max_wait_ms: float = 5,
) -> Union[F, Callable[[F], F]]:
    """Register a function as a command, and return it unchanged. Used bare or with options.

    Args:
        function: A function, plain or async, or a generator; its arguments come by name from JSON, its result goes
            back as JSON, or what it yields, one by one.
        name: Name for callers, if not that of the function.
        timeout: Seconds that a call may take.
        idempotent: Whether running it twice does no more than running it once.
        isolation: "fresh" gives each call a worker of its own, which is stopped after it, so that nothing stays;
            "shared" runs calls in the workers of the pool.
        concurrency: How many calls of it a worker runs at once. That of an `async def` is what the service sets, 100 by
            default, and they share one event loop; that of a plain function is 1, with more it runs in threads.
        batch: The function takes one argument, a list with the arguments of several calls, each a dict of just what
            its caller has sent, and returns a list with the result of each, or an Exception, in their order.
        max_batch: How many calls are in a batch at most.
        max_wait_ms: Milliseconds that the first call of a batch waits for others.

    Raises:
        TypeError: The function is none, or an option has the wrong type.
        ValueError: The name is taken, or an option has a value that cannot be used.
    """

    def register(function: F) -> F:
        options = Options(concurrency, batch, max_batch, max_wait_ms)
        REGISTRY.add_command(make_command(function, name, timeout, idempotent, isolation, options))
        return function

    return register if function is None else register(function)


def on_start(function: F) -> F:
    """Run a function without arguments when a worker has imported the app, before its first call."""
    REGISTRY.add_hook("start", function)
    return function


def on_stop(function: F) -> F:
    """Run a function without arguments when a worker ends in good order."""
    REGISTRY.add_hook("stop", function)
    return function


def on_session_start(function: F) -> F:
    """Run a function before the first call of a session; it may take the id of the session."""
    REGISTRY.add_hook("session_start", function)
    return function


def on_session_end(function: F) -> F:
    """Run a function when a session ends in good order; it may take the id of the session."""
    REGISTRY.add_hook("session_end", function)
    return function


def _place(function: Function) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
