"""Runs the app: its import, its hooks, its commands. The only module that calls user code."""

from __future__ import annotations

import os
import sys
from functools import partial
from json import JSONDecodeError
from typing import Any, Callable, Dict, Final, Generator, List, NoReturn, Optional, Tuple, Type, cast

from ._args import ArgsRefused, misfits, overflows, place
from ._call import current
from ._calls import CALL, Running
from ._cancel import Cancelled, NotStarted
from ._classes import is_a
from ._commands import Command, make_command
from ._decode import decode
from ._encode import encode_fields, result_encoder
from ._failure import cancelled_fields, ending, exit_code, failure_fields, is_exit
from ._frames import ERROR, OVERHEAD, RESULT, FrameError, FrameWriter
from ._output import Output
from ._registry import Hook, Registry
from ._stream import Refused, Reply, encode_value, make_outlet, pump
from ._text import cut_end, text_limit

_exit: Final = os._exit
_recursion_limit: Final = sys.getrecursionlimit
_set_recursion_limit: Final = sys.setrecursionlimit
_MIN_RECURSION: Final = 500
"""Depth that this runtime may need; an app that sets a lower limit gets this one."""


class Runner:
    """Runs one call after another and makes their replies.

    Attributes:
        exit_code: Set once a call has raised SystemExit: the process ends after its reply.
    """

    def __init__(self, registry: Registry, writer: FrameWriter, output: Output, max_frame: int) -> None:
        self.exit_code: Optional[int] = None
        self._registry = registry
        self._calls = registry.calls
        self._main = registry.calls.main
        self._asked = registry.calls.asked
        self._commands = registry.commands
        self._writer = writer
        self._output = output
        self._max_frame = max_frame
        self._limit = text_limit(max_frame)
        self._encode = result_encoder()
        self._cancels: Tuple[Type[BaseException], ...] = (Cancelled,)

    def attempt(self, function: Callable[[], object]) -> Optional[BaseException]:
        """Run user code outside of a call, and return what it raised, or None."""
        failure: Optional[BaseException] = None
        try:
            function()
        except BaseException as exc:
            failure = exc
        if self._writer.forked:
            leave_child(failure)
        self._output.end_lines()
        return failure

    def run(self, text: str, arrived: float, call_id: int) -> Reply:
        """Run one call.

        Args:
            text: Body of the CALL frame.
            arrived: When it was read, in monotonic seconds.
            call_id: Id of the call.

        Raises:
            FrameError: The body is not the JSON that the protocol names.
        """
        try:
            envelope, overflown = decode(text)
        except JSONDecodeError as exc:
            raise FrameError(f"body of a CALL is not JSON: {exc}") from exc
        except (ValueError, RecursionError, MemoryError) as exc:  # JSON, but more than this interpreter takes
            wrong = {"pointer": "", "detail": f"Python cannot read them: {type(exc).__name__}: {exc}"}
            return self._error("invalid_args", "the arguments cannot be read", errors=[wrong])
        if envelope.__class__ is not dict:
            raise FrameError("body of a CALL is not a JSON object")
        name: Any = envelope.get("command")
        args: Any = envelope.get("args")
        if name.__class__ is not str or args.__class__ is not dict:
            return self._run_hook_call(envelope, arrived, call_id)
        command = self._commands.get(name)
        if command is None:
            return self._error("unknown_command", f"there is no command {cut_end(name, 200)!r}")
        names = args.keys()
        if not (command.required <= names and (command.variadic or names <= command.allowed)):
            errors = misfits(command, args)
            return self._error("invalid_args", f"arguments do not fit {command.name}", errors=errors)
        if overflown and (errors := overflows(args)):
            return self._error("invalid_args", f"arguments do not fit {command.name}", errors=errors)
        return self._perform(command, args, (envelope, arrived, call_id))

    def _perform(self, command: Command, args: Dict[str, Any], running: Running) -> Reply:
        """Run a command in the main thread.

        While it is armed Cancelled can come out of any step, once. That may be the very step that would disarm it, on the
        way out of what the command itself raises; hence the outer try.
        """
        output, main = self._output, self._main
        if getattr(sys, "stdout", None) is None or getattr(sys, "stderr", None) is None:
            output.restore()
        token = CALL.set(running)
        self._registry.running = running
        main.shields = 0
        try:
            try:
                main.call_id = main.armed = running[2]
                if self._asked:
                    self._calls.refuse(running[2])
                convert = command.types.convert
                if convert is not None:
                    convert(args)
                if command.positional:
                    by_position, by_name = place(command, args)
                    value = command.function(*by_position, **by_name)
                else:
                    value = command.function(**args)
                reply = self._stream(value, running) if command.streams else None
                main.armed = 0
                if _recursion_limit() < _MIN_RECURSION:
                    _set_recursion_limit(_MIN_RECURSION)
                if self._writer.forked:
                    leave_child(None)
                if reply is None:
                    reply = RESULT, encode_value(self._encode, value, self._max_frame, "result")
            except BaseException as exc:
                main.armed = 0
                reply = self._after(exc, main.was_thrown())
        except Cancelled as exc:
            reply = self._after(exc, main.was_thrown())
        self._registry.running = None
        CALL.reset(token)
        if output.out.pending or output.err.pending:
            output.end_lines()
        return reply

    def _run_hook_call(self, envelope: Dict[str, Any], arrived: float, call_id: int) -> Reply:
        name = envelope.get("hook")
        if not isinstance(name, str):
            raise FrameError("body of a CALL names neither a command with its args nor a hook")
        hooks = self._registry.hooks.get(name) if name.startswith("session_") else None
        if not hooks:
            return self._error("unknown_command", f"there is no hook {cut_end(name, 200)!r}")
        return self._perform(make_command(partial(_run_hooks, hooks), name, None, False), {}, (envelope, arrived, call_id))

    def _stream(self, generator: object, running: Running) -> Reply:
        outlet = make_outlet(self._calls, running[0], running[2], self._max_frame)
        self._main.outlet = outlet
        try:
            return pump(cast("Generator[object, None, None]", generator), outlet, self._calls.await_credit)
        finally:
            self._main.outlet = None

    def _after(self, exc: BaseException, thrown: bool) -> Reply:
        """Make the reply to a call that raised.

        Args:
            exc: What came out of it.
            thrown: Whether it was cancelled.
        """
        if _recursion_limit() < _MIN_RECURSION:
            _set_recursion_limit(_MIN_RECURSION)
        if self._writer.forked:
            leave_child(exc)
        return self._failed(exc, thrown)

    def _failed(self, exc: BaseException, thrown: bool) -> Reply:
        if type(exc) is NotStarted:
            return self._error("cancelled", "the call was cancelled before it began", started=False)
        if type(exc) is ArgsRefused:
            return self._error("invalid_args", f"arguments do not fit {exc.command}", errors=exc.errors)
        if type(exc) is Refused:
            return self._error("bad_result", exc.message, type=exc.type)
        if thrown and is_cancel(exc, self._cancels):
            return ERROR, encode_fields(cancelled_fields(exc, self._limit))
        if is_exit(exc):
            self.exit_code = exit_code(exc)
        return ERROR, encode_fields(failure_fields(exc, self._limit))

    def _error(self, kind: str, message: str, **members: object) -> Reply:
        fields: Dict[str, object] = {"kind": kind, "message": cut_end(message, self._limit), **members}
        body = encode_fields(fields)
        if len(body) + OVERHEAD > self._max_frame:
            body = encode_fields({"kind": kind, "message": fields["message"]})
        return ERROR, body


def _run_hooks(hooks: List[Hook]) -> None:
    """Run the hooks of a session, in the order in which they were registered, up to the first that raises."""
    for hook in hooks:
        if hook.takes_id:
            hook.function(current().session_id)
        else:
            hook.function()


def is_cancel(exc: BaseException, kinds: Tuple[Type[BaseException], ...]) -> bool:
    """Tell whether what came out of a cancelled call is one of kinds, or a group of nothing else. Never raises."""
    if any(is_a(exc, kind) for kind in kinds):
        return True
    try:
        return exc.split(kinds)[1] is None  # type: ignore[attr-defined]
    except BaseException:  # it is no group
        return False


def leave_child(exc: Optional[BaseException]) -> NoReturn:
    """End a process that the app forked and that came back here: the call is its parent's to answer."""
    code, said = (0, "") if exc is None else ending(exc)
    try:
        sys.stderr.write(said)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        _exit(code)
