"""What user code raised, as the body of an ERROR frame. Source: docs/protocol.md, section 5."""

from __future__ import annotations

import importlib
import os
import traceback
from types import TracebackType
from typing import Dict, Final, FrozenSet, Optional

from ._registry import CommandError, command_error_problem
from ._text import cut_end, cut_middle

_HERE: Final = os.path.dirname(__file__)
_NOT_THE_APP: Final[FrozenSet[str]] = frozenset(
    (
        os.path.join(_HERE, "_run.py"),
        os.path.join(_HERE, "_loader.py"),
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
        if isinstance(exc, CommandError) and not command_error_problem(exc.code, exc.status):
            code, status = exc.code, exc.status
            return {"kind": "command_error", **_type_and_message(exc, limit), "code": code, "status": status}
    except BaseException:  # a subclass without the attributes, say; it is an exception like any other
        pass
    fields: Dict[str, object] = {"kind": "exception", **_type_and_message(exc, limit)}
    fields["traceback"] = cut_middle(traceback_text(exc), limit)
    if isinstance(exc, SystemExit):
        fields["exiting"] = True
    return fields


def start_fields(stage: str, exc: BaseException, limit: int) -> Dict[str, object]:
    """Describe why the worker cannot start: the members of an ERROR of kind start. Never raises."""
    text = cut_middle(traceback_text(exc), limit)
    return {"kind": "start", "stage": stage, **_type_and_message(exc, limit), "traceback": text}


def traceback_text(exc: BaseException) -> str:
    """Format an exception with its traceback, without the frames of this runtime on top. Never raises."""
    try:
        return "".join(traceback.format_exception(type(exc), exc, _trimmed(exc.__traceback__)))
    except BaseException:
        try:
            return "".join(traceback.format_tb(_trimmed(exc.__traceback__))) + f"{_name(type(exc))}\n"
        except BaseException:
            return "the traceback cannot be formatted\n"


def exit_code(exc: SystemExit) -> int:
    """Return the code with which a process ends that raised exc and caught it nowhere."""
    code: object = exc.code
    if code is None:
        return 0
    return int(code) if isinstance(code, int) else 1


def _type_and_message(exc: BaseException, limit: int) -> Dict[str, object]:
    name = _name(type(exc))
    try:
        return {"type": name, "message": cut_end(str(exc), limit)}
    except BaseException:
        return {"type": name, "message": f"<str() of this {name} fails>"}


def _name(kind: type) -> str:
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
    except BaseException:
        return "exception"
    return cut_end(name if module == "builtins" else f"{module}.{name}", 200)


def _trimmed(tb: Optional[TracebackType]) -> Optional[TracebackType]:
    while tb is not None and tb.tb_frame.f_code.co_filename in _NOT_THE_APP:
        tb = tb.tb_next
    return tb
