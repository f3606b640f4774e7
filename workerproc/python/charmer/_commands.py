"""What a command is: a function, the arguments that it takes, and how it is described in READY."""

from __future__ import annotations

import inspect
import math
import re
import sys
from dataclasses import dataclass
from typing import Callable, Dict, Final, FrozenSet, Optional, Tuple

Function = Callable[..., object]

_NAME: Final = re.compile(r"[^\W\d][\w.:-]{0,127}")
_ISOLATIONS: Final = ("shared", "fresh")
_POSITIONAL: Final = inspect.Parameter.POSITIONAL_ONLY


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command. variadic: `**kwargs`, which takes any further name."""

    __slots__ = ("annotation", "default", "name", "positional", "required", "variadic")

    name: str
    required: bool
    annotation: str
    default: object
    positional: bool
    variadic: bool


@dataclass(frozen=True)
class Command:
    """A function that the app registered, with all that a call needs worked out beforehand."""

    __slots__ = (
        "allowed",
        "doc",
        "function",
        "idempotent",
        "isolation",
        "name",
        "parameters",
        "positional",
        "required",
        "timeout_ms",
        "variadic",
    )

    name: str
    function: Function
    doc: str
    parameters: Tuple[Parameter, ...]
    required: FrozenSet[str]
    allowed: FrozenSet[str]
    positional: Tuple[Parameter, ...]
    variadic: bool
    timeout_ms: Optional[float]
    idempotent: bool
    isolation: str


def make_command(
    function: Function, name: Optional[str], timeout: Optional[float], idempotent: bool, isolation: str = "shared"
) -> Command:
    """Work out a command.

    Args:
        function: What to run.
        name: Its name for callers; None takes that of the function.
        timeout: Seconds that a call may take, or None.
        idempotent: Whether running it twice does no more than running it once.
        isolation: "shared", or "fresh" if each call has a worker of its own.

    Raises:
        TypeError: The function is none, or not a plain one; an option has the wrong type.
        ValueError: An option has a value that cannot be used.
    """
    check_plain(function, "command")
    called = getattr(function, "__name__", "") if name is None else name
    if not isinstance(called, str):
        raise TypeError(f"the name of a command is a string, not {called!r}")
    if not _NAME.fullmatch(called):
        raise ValueError(
            f"{called!r} cannot be the name of a command: up to 128 letters, digits and any of '_.:-', "
            "beginning with a letter; give one with @command(name=...)"
        )
    if not isinstance(idempotent, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"idempotent of command {called!r} is True or False, not {idempotent!r}")
    if isolation not in _ISOLATIONS:
        raise ValueError(f"isolation of command {called!r} is 'shared' or 'fresh', not {isolation!r}")
    parameters = _parameters(function)
    named = [p for p in parameters if not p.variadic]
    return Command(
        name=called,
        function=function,
        doc=inspect.cleandoc(function.__doc__ or ""),
        parameters=parameters,
        required=frozenset(p.name for p in named if p.required),
        allowed=frozenset(p.name for p in named),
        positional=tuple(p for p in named if p.positional),
        variadic=len(named) < len(parameters),
        timeout_ms=None if timeout is None else _milliseconds(timeout, called),
        idempotent=idempotent,
        isolation=isolation,
    )


def check_plain(function: object, decorator: str) -> None:
    """Refuse what is not a plain function.

    Raises:
        TypeError: With a sentence that says so.
    """
    if not callable(function):
        raise TypeError(f"@{decorator} stands above a function, not {function!r}; options are given by name")
    call = getattr(function, "__call__", None)  # of an instance whose class defines it
    for kind, asks in (
        ("an async generator", inspect.isasyncgenfunction),
        ("an async", inspect.iscoroutinefunction),
        ("a generator", inspect.isgeneratorfunction),
    ):
        if asks(function) or asks(call):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(f"@{decorator}: {name} is {kind} function; this version runs plain functions only")


def describe(command: Command) -> Dict[str, object]:
    """Describe a command as READY does. Source: docs/protocol.md, section 3."""
    description: Dict[str, object] = {"name": command.name}
    if command.doc:
        description["doc"] = command.doc
    description["parameters"] = [_describe_parameter(p) for p in command.parameters]
    if command.timeout_ms is not None:
        description["timeout_ms"] = command.timeout_ms
    if command.idempotent:
        description["idempotent"] = True
    if command.isolation != "shared":
        description["isolation"] = command.isolation
    return description


def _parameters(function: Function) -> Tuple[Parameter, ...]:
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            signature = inspect.signature(function, annotation_format=Format.STRING)
        else:
            signature = inspect.signature(function)
    except ValueError as exc:
        raise TypeError(f"@command: {function!r} does not tell its parameters; wrap it in a def") from exc
    return tuple(
        Parameter(
            name=p.name,
            required=p.default is p.empty and p.kind is not p.VAR_KEYWORD,
            annotation=_annotation(p.annotation),
            default=p.default,
            positional=p.kind is _POSITIONAL,
            variadic=p.kind is p.VAR_KEYWORD,
        )
        for p in signature.parameters.values()
        if p.kind is not p.VAR_POSITIONAL  # arguments come by name, so *args stays empty
    )


def _annotation(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _describe_parameter(parameter: Parameter) -> Dict[str, object]:
    description: Dict[str, object] = {"name": parameter.name, "required": parameter.required}
    if parameter.annotation:
        description["annotation"] = parameter.annotation
    if parameter.variadic:
        description["variadic"] = True
    return description


def _milliseconds(timeout: object, name: str) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout of command {name!r} is a number of seconds, not {timeout!r}")
    if not (0 < timeout < math.inf):
        raise ValueError(f"timeout of command {name!r} is {timeout!r}, but must be more than 0 seconds and finite")
    milliseconds = round(timeout * 1000, 3)
    return int(milliseconds) if milliseconds == int(milliseconds) else milliseconds
