"""For tests of apps: runs commands in this interpreter as a worker does, without the service.

    import app
    from charmer.testing import call

    assert call("greet", name="Ada") == "hello Ada"

Arguments go through JSON, are checked and converted, and the result is what a client gets. What differs: there is no deadline, nothing is cancelled
and nothing streams; a generator gives the list of its items, and a batch has one call. See docs/testing.md.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from time import monotonic
from typing import Any, Callable, Dict, Final, Iterator, List, Mapping, Optional, Tuple, Union

from ._encode import result_encoder
from ._frames import RESULT
from ._in_place import InPlace
from ._registry import REGISTRY

__all__ = ["CallFailed", "CommandFailed", "InvalidArgs", "UnknownCommand", "call", "session", "worker"]

_IDS: Final = count(1)
_SESSION: Final[ContextVar[Optional[Tuple[str, List[str]]]]] = ContextVar("charmer_testing_session", default=None)


class CallFailed(Exception):
    """A call that a client would see fail. code and status: as in the problem document."""

    code = ""
    status = 0


class InvalidArgs(CallFailed):
    """The arguments do not fit the command. errors: a list of `{"pointer": JSON pointer into args, "detail": sentence}`."""

    code = "invalid_args"
    status = 400

    def __init__(self, message: str, errors: List[Dict[str, str]]) -> None:
        told = "; ".join(f"{error['pointer']} {error['detail']}" for error in errors)
        super().__init__(f"{message}: {told}" if told else message)
        self.errors = errors


class UnknownCommand(CallFailed):
    """No command of this name is registered; has the test imported the app?"""

    code = "unknown_command"
    status = 404


class CommandFailed(CallFailed):
    """The command raised, which is the `__cause__`, or returned what JSON cannot carry.

    Attributes:
        code: That of a CommandError, else "command_failed".
        status: That of a CommandError, else 422.
        type: Name of the class of what was raised.
        message: Its text.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(f"{fields.get('type')}: {fields.get('message')}")
        self.code = fields.get("code", "command_failed")
        self.status = fields.get("status", 422)
        self.type: str = fields.get("type", "")
        self.message: str = fields.get("message", "")


def call(command: Union[str, Callable[..., object]], args: Optional[Mapping[str, object]] = None, /, **more: object) -> Any:
    """Run a command, and return its result as a client gets it, decoded from JSON.

    Args:
        command: Its name, or the function.
        args: Its arguments; what JSON does not know in them, such as a datetime, is encoded as in a result.
        **more: More of them.

    Raises:
        InvalidArgs: They do not fit.
        CommandFailed: The command failed.
        UnknownCommand: There is none.
        TypeError, ValueError: JSON cannot carry the arguments.
    """
    given = _SESSION.get()
    members: Dict[str, object] = {}
    if given is not None:
        session_id, states = given
        members["session"] = {"id": session_id, "state": states.pop() if len(states) > 1 else states[0]}
    return _run({"command": _name_of(command), **members, "args": {**(args or {}), **more}})


@contextmanager
def session(session_id: str) -> Iterator[None]:
    """Have the calls in the `with` block be of a session, with its hooks run before and after.

    What the app keeps of a session in module globals stays in this interpreter: it is for the test to reset.

    Raises:
        CommandFailed: A hook failed.
    """
    told = {"session": {"id": session_id, "state": "new"}}
    if REGISTRY.hooks["session_start"]:
        _run({"hook": "session_start", **told})
    token = _SESSION.set((session_id, ["resumed", "new"]))
    try:
        yield
    finally:
        _SESSION.reset(token)
        if REGISTRY.hooks["session_end"]:
            _run({"hook": "session_end", "session": {"id": session_id, "state": "resumed"}})


@contextmanager
def worker() -> Iterator[None]:
    """Run the hooks of a worker's start before the `with` block, and those of its stop after it; what they raise is raised."""
    for hook in REGISTRY.hooks["start"]:
        hook.function()
    try:
        yield
    finally:
        for hook in REGISTRY.hooks["stop"]:
            hook.function()


def _run(envelope: Dict[str, object]) -> Any:
    runner = InPlace()
    number = next(_IDS)
    text = result_encoder()({"request_id": f"test-{number}", "timeout_ms": None, **envelope})
    kind, body = runner.run(text, monotonic(), number)
    fields: Any = json.loads(body)
    if kind == RESULT:
        return fields
    if fields["kind"] == "invalid_args":
        raise InvalidArgs(fields["message"], fields.get("errors", []))
    if fields["kind"] == "unknown_command":
        raise UnknownCommand(fields["message"])
    raise CommandFailed(fields) from runner.failure


def _name_of(command: Union[str, Callable[..., object]]) -> str:
    if isinstance(command, str):
        return command
    for registered in REGISTRY.commands.values():
        if registered.function is command:
            return registered.name
    raise UnknownCommand(f"{command!r} is no command")
