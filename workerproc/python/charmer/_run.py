"""Runs the app: its import, its hooks, its commands. The only module that calls user code."""

from __future__ import annotations

import os
import sys
from functools import partial
from json import JSONDecodeError
from typing import Any, Callable, Dict, Final, List, NoReturn, Optional, Tuple

from ._args import misfits, overflows, place
from ._call import CALL, Running, current
from ._classes import class_name
from ._commands import Command, make_command
from ._decode import decode
from ._encode import MAX_DEPTH, encode_fields, excess_depth, result_encoder
from ._explain import explain
from ._failure import ending, exit_code, failure_fields, is_exit
from ._frames import ERROR, OVERHEAD, RESULT, FrameError, FrameWriter
from ._output import Output
from ._registry import Hook, Registry
from ._text import cut_end, text_limit

Reply = Tuple[int, bytes]
"""Kind and body of the frame that answers a call."""

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
        self._commands = registry.commands
        self._writer = writer
        self._output = output
        self._max_frame = max_frame
        self._limit = text_limit(max_frame)
        self._encode = result_encoder()

    def attempt(self, function: Callable[[], object]) -> Optional[BaseException]:
        """Run user code outside of a call, and return what it raised, or None."""
        failure: Optional[BaseException] = None
        try:
            function()
        except BaseException as exc:
            failure = exc
        if self._writer.forked:
            _leave_child(failure)
        self._output.end_lines()
        return failure

    def run(self, text: str, arrived: float) -> Reply:
        """Run one call.

        Args:
            text: Body of the CALL frame.
            arrived: When it was read, in monotonic seconds.

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
            return self._run_hook_call(envelope, arrived)
        command = self._commands.get(name)
        if command is None:
            return self._error("unknown_command", f"there is no command {cut_end(name, 200)!r}")
        names = args.keys()
        if not (command.required <= names and (command.variadic or names <= command.allowed)):
            errors = misfits(command, args)
            return self._error("invalid_args", f"arguments do not fit {command.name}", errors=errors)
        if overflown and (errors := overflows(args)):
            return self._error("invalid_args", f"arguments do not fit {command.name}", errors=errors)
        return self._perform(command, args, (envelope, arrived))

    def _perform(self, command: Command, args: Dict[str, Any], running: Running) -> Reply:
        output = self._output
        if getattr(sys, "stdout", None) is None or getattr(sys, "stderr", None) is None:
            output.restore()
        token = CALL.set(running)
        self._registry.running = running
        try:
            if command.positional:
                by_position, by_name = place(command, args)
                value = command.function(*by_position, **by_name)
            else:
                value = command.function(**args)
            if _recursion_limit() < _MIN_RECURSION:
                _set_recursion_limit(_MIN_RECURSION)
            if self._writer.forked:
                _leave_child(None)
            reply = self._result(value)
        except BaseException as exc:
            if _recursion_limit() < _MIN_RECURSION:
                _set_recursion_limit(_MIN_RECURSION)
            if self._writer.forked:
                _leave_child(exc)
            reply = self._failed(exc)
        self._registry.running = None
        CALL.reset(token)
        if output.out.pending or output.err.pending:
            output.end_lines()
        return reply

    def _run_hook_call(self, envelope: Dict[str, Any], arrived: float) -> Reply:
        name = envelope.get("hook")
        if not isinstance(name, str):
            raise FrameError("body of a CALL names neither a command with its args nor a hook")
        hooks = self._registry.hooks.get(name) if name.startswith("session_") else None
        if not hooks:
            return self._error("unknown_command", f"there is no hook {cut_end(name, 200)!r}")
        return self._perform(make_command(partial(_run_hooks, hooks), name, None, False), {}, (envelope, arrived))

    def _result(self, value: object) -> Reply:
        try:
            body = self._encode(value).encode("utf-8")
        except Exception as exc:
            return self._error("bad_result", explain(value, exc), type=class_name(type(exc)))
        size = len(body) + OVERHEAD
        if size > self._max_frame:
            message = f"result takes {size:,} bytes as a frame, and the largest allowed is {self._max_frame:,}"
            return self._error("bad_result", message, type="ValueError")
        levels = excess_depth(body)
        if levels:
            message = f"result is nested {levels:,} levels deep, and the deepest allowed is {MAX_DEPTH:,}"
            return self._error("bad_result", message, type="ValueError")
        return RESULT, body

    def _failed(self, exc: BaseException) -> Reply:
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


def _leave_child(exc: Optional[BaseException]) -> NoReturn:
    """End a process that the app forked and that came back here: the call is its parent's to answer."""
    code, said = (0, "") if exc is None else ending(exc)
    try:
        sys.stderr.write(said)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        _exit(code)
