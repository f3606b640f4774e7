"""What user code raised, as the body of an ERROR frame. Source: docs/protocol.md, section 5."""

from __future__ import annotations

import importlib
import os
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Dict, Final, FrozenSet, Optional, Tuple

from ._classes import class_name, is_a
from ._registry import CommandError, command_error_problem
from ._text import MAX_LINE, cut_end, cut_middle

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

_HERE: Final = os.path.dirname(__file__)
_format: Final = traceback.format_exception
_errno: Final = OSError.__dict__["errno"].__get__  # past what a class of the app puts in its place
_NOT_THE_APP: Final[FrozenSet[str]] = frozenset(
    (
        os.path.join(_HERE, "_run.py"),
        os.path.join(_HERE, "_loop.py"),
        os.path.join(_HERE, "_pool.py"),
        os.path.join(_HERE, "_batch.py"),
        os.path.join(_HERE, "_stream.py"),
        os.path.join(_HERE, "_task.py"),
        os.path.join(_HERE, "_loader.py"),
        os.path.join(_HERE, "_commands.py"),
        os.path.join(_HERE, "_typed.py"),
        os.path.join(_HERE, "_objects.py"),
        os.path.join(_HERE, "_containers.py"),
        os.path.join(_HERE, "_unions.py"),
        os.path.join(_HERE, "_schema.py"),
        os.path.join(_HERE, "_bounds.py"),
        os.path.join(_HERE, "_models.py"),
        importlib.__file__,
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
    )
)


def failure_fields(exc: BaseException, limit: int) -> Dict[str, object]:
    """Describe what a command or a hook raised. Never raises, whatever the exception does when looked at.

    Args:
        exc: What was raised.
        limit: Bytes of UTF-8 that message and traceback may each have.

    Returns:
        The members of an ERROR of kind command_error or exception, with exiting for SystemExit.
    """
    try:
        if is_a(exc, CommandError):
            code, status = exc.code, exc.status  # looked at once, since a property may change its mind
            if not command_error_problem(code, status):
                return {"kind": "command_error", **_type_and_message(exc, limit), "code": code, "status": status}
    except BaseException:  # a subclass without the attributes, say; it is an exception like any other
        pass
    fields: Dict[str, object] = {"kind": "exception", **_type_and_message(exc, limit)}
    fields["traceback"] = cut_middle(traceback_text(exc), limit)
    if is_exit(exc):
        fields["exiting"] = True
    return fields


def cancelled_fields(exc: BaseException, limit: int) -> Dict[str, object]:
    """Describe how a cancelled call ended: the members of an ERROR of kind cancelled. Never raises."""
    fields: Dict[str, object] = {"kind": "cancelled", **_type_and_message(exc, limit)}
    _cut_tail(exc.__traceback__)
    fields["traceback"] = cut_middle(traceback_text(exc), limit)
    return fields


def start_fields(stage: str, exc: BaseException, limit: int) -> Dict[str, object]:
    """Describe why the worker cannot start: the members of an ERROR of kind start. Never raises."""
    text = cut_middle(traceback_text(exc), limit)
    return {"kind": "start", "stage": stage, **_type_and_message(exc, limit), "traceback": text}


def headline(exc: BaseException) -> str:
    """Return the class and the message of an exception. Never raises."""
    told = _type_and_message(exc, MAX_LINE)
    return f"{told['type']}: {told['message']}"


def traceback_text(exc: BaseException) -> str:
    """Format an exception with its traceback, without the frames of this runtime on top. Never raises."""
    try:
        return "".join(_format(type(exc), exc, _trimmed(exc.__traceback__)))
    except BaseException:
        try:
            return "".join(traceback.format_tb(_trimmed(exc.__traceback__))) + f"{class_name(type(exc))}\n"
        except BaseException:
            return "the traceback cannot be formatted\n"


def is_system_error(exc: BaseException) -> bool:
    """Tell whether a system call failed: the TimeoutError() of a signal handler has no errno. Never raises."""
    return is_a(exc, OSError) and _errno(exc) is not None


def is_exit(exc: BaseException) -> TypeGuard[SystemExit]:
    """Tell whether what was raised ends the process. Never raises."""
    return is_a(exc, SystemExit)


def exit_code(exc: SystemExit) -> int:
    """Return the code with which a process ends that raised exc and caught it nowhere, 0 to 255. Never raises."""
    try:
        code: object = exc.code
        if code is None:
            return 0
        if is_a(code, int):
            number = int.__index__(code)
            return number & 0xFF if -(1 << 63) <= number < 1 << 63 else 0xFF  # as a C long
    except BaseException:  # a subclass whose code is a property, say
        pass
    return 1


def ending(exc: BaseException) -> Tuple[int, str]:
    """Return exit code and last text on stderr of a process that raised exc and caught it nowhere. Never raises."""
    if not is_exit(exc):
        return 1, traceback_text(exc)
    try:
        code: object = exc.code
        return exit_code(exc), f"{str.__str__(code)}\n" if is_a(code, str) else ""
    except BaseException:
        return 1, ""


def _type_and_message(exc: BaseException, limit: int) -> Dict[str, str]:
    name = class_name(type(exc))
    try:
        return {"type": name, "message": cut_end(str(exc), limit)}
    except BaseException:
        return {"type": name, "message": f"<str() of this {name} fails>"}


def _trimmed(tb: Optional[TracebackType]) -> Optional[TracebackType]:
    while tb is not None and tb.tb_frame.f_code.co_filename in _NOT_THE_APP:
        tb = tb.tb_next
    return tb


def _cut_tail(tb: Optional[TracebackType]) -> None:
    """Let a traceback end where the app was, without the frames of this runtime that raised there."""
    last: Optional[TracebackType] = None
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(_HERE):
            last = tb
        tb = tb.tb_next
    if last is not None:
        last.tb_next = None
