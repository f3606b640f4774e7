"""What a command is: a function, the arguments that it takes, and how it is described in READY."""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Final, FrozenSet, Optional, Tuple

from ._docstring import doc_of, summary

if TYPE_CHECKING:
    from ._typed import ConvertArgs, Worked

Function = Callable[..., object]

FUNCTION: Final = "a plain"
GENERATOR: Final = "a generator"
COROUTINE: Final = "an async"
ASYNC_GENERATOR: Final = "an async generator"

_CONCURRENCY: Final = 100
_NAME: Final = re.compile(r"[^\W\d][\w.:-]{0,127}")
_ISOLATIONS: Final = ("shared", "fresh")
_POSITIONAL: Final = inspect.Parameter.POSITIONAL_ONLY


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command.

    positional: it has no name for callers in Python; variadic: `**kwargs`, which takes any further name; by_position: it
    can be given by position.
    """

    __slots__ = ("annotation", "by_position", "default", "name", "positional", "required", "variadic")

    name: str
    required: bool
    annotation: str
    default: object
    positional: bool
    variadic: bool
    by_position: bool


@dataclass(frozen=True)
class Options:
    """How calls of a command run side by side, as the app asks for it; see charmer.command."""

    concurrency: Optional[int] = None
    batch: bool = False
    max_batch: int = 32
    max_wait_ms: float = 5


class Types:
    """What the hints of a command say; worked out when it is first asked, for they may name what is defined below it.

    Attributes:
        convert: Converts the arguments of a call where they are; None if all pass as they are.
    """

    __slots__ = ("_work", "_worked", "convert")

    def __init__(self, work: Callable[[], Worked], needed: bool) -> None:
        """Args: needed: Whether there are arguments to convert."""
        self._work = work
        self._worked: Optional[Worked] = None
        self.convert: Optional[ConvertArgs] = self._convert_first if needed else None

    def worked_out(self) -> Worked:
        """Return what the hints say."""
        if self._worked is None:
            self._worked = self._work()
            self.convert = self._worked.convert
        return self._worked

    def _convert_first(self, args: Dict[str, Any]) -> None:
        convert = self.worked_out().convert
        if convert is not None:
            convert(args)


@dataclass(frozen=True)
class Command:
    """A function that the app registered, with all that a call needs worked out beforehand.

    kind is one of the constants above, streams whether it yields items, concurrency how many calls a worker may have
    open when one of this command is added, batch how many calls are in a batch at most, 0 if there are none.
    """

    __slots__ = (
        "allowed",
        "batch",
        "concurrency",
        "doc",
        "function",
        "idempotent",
        "isolation",
        "kind",
        "max_wait_ms",
        "name",
        "parameters",
        "positional",
        "required",
        "streams",
        "timeout_ms",
        "types",
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
    kind: str
    streams: bool
    concurrency: int
    batch: int
    max_wait_ms: float
    types: Types


def make_command(
    function: Function,
    name: Optional[str],
    timeout: Optional[float],
    idempotent: bool,
    isolation: str = "shared",
    options: Options = Options(),
) -> Command:
    """Work out a command.

    Args:
        function: What to run.
        name: Its name for callers; None takes that of the function.
        timeout: Seconds that a call may take, or None.
        idempotent: Whether running it twice does no more than running it once.
        isolation: "shared", or "fresh" if each call has a worker of its own.
        options: How its calls run side by side.

    Raises:
        TypeError: The function is none; an option has the wrong type.
        ValueError: An option has a value that cannot be used.
    """
    kind = _kind(function, "command")
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
    if not isinstance(options.batch, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"batch of command {called!r} is True or False, not {options.batch!r}")
    if options.batch:
        parameters = (_check_batch(called, kind, options, isolation, parameters),)
    named = [p for p in parameters if not p.variadic]
    return Command(
        name=called,
        function=function,
        doc=doc_of(function),
        parameters=parameters,
        required=frozenset(p.name for p in named if p.required),
        allowed=frozenset(p.name for p in named),
        positional=tuple(p for p in named if p.positional),
        variadic=len(named) < len(parameters),
        timeout_ms=None if timeout is None else _milliseconds(timeout, called),
        idempotent=idempotent,
        isolation=isolation,
        kind=kind,
        streams=kind in (GENERATOR, ASYNC_GENERATOR),
        concurrency=2 * options.max_batch if options.batch else _concurrency(called, kind, options, isolation),
        batch=options.max_batch if options.batch else 0,
        max_wait_ms=options.max_wait_ms,
        types=Types(partial(_work_out, function, called, kind, options.batch), bool(parameters) and not options.batch),
    )


def check_plain(function: object, decorator: str) -> None:
    """Refuse what is not a plain function.

    Raises:
        TypeError: With a sentence that says so.
    """
    kind = _kind(function, decorator)
    if kind != FUNCTION:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"@{decorator}: {name} is {kind} function, and a hook must be a plain one")


def needs_loop(command: Command) -> bool:
    """Tell whether a worker that has this command serves on an event loop."""
    return command.concurrency > 1 or command.kind in (COROUTINE, ASYNC_GENERATOR)


def _kind(function: object, decorator: str) -> str:
    if not callable(function):
        raise TypeError(f"@{decorator} stands above a function, not {function!r}; options are given by name")
    call = getattr(function, "__call__", None)  # of an instance whose class defines it
    for kind, asks in (
        (ASYNC_GENERATOR, inspect.isasyncgenfunction),
        (COROUTINE, inspect.iscoroutinefunction),
        (GENERATOR, inspect.isgeneratorfunction),
    ):
        if asks(function) or asks(call):
            return kind
    return FUNCTION


def _concurrency(name: str, kind: str, options: Options, isolation: str) -> int:
    asked = options.concurrency
    if asked is None:
        if kind in (FUNCTION, GENERATOR) or isolation == "fresh":
            return 1
        default = os.environ.get("CHARMER_WORKER_CONCURRENCY", "")
        return max(1, int(default)) if default.isdecimal() else _CONCURRENCY
    if isinstance(asked, bool) or not isinstance(asked, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"concurrency of command {name!r} is a whole number, not {asked!r}")
    if asked < 1:
        raise ValueError(f"concurrency of command {name!r} is {asked}, but must be at least 1")
    if asked > 1 and isolation == "fresh":
        raise ValueError(f"command {name!r} has a fresh worker for each call, so its concurrency is 1, not {asked}")
    return asked


def _check_batch(
    name: str, kind: str, options: Options, isolation: str, parameters: Tuple[Parameter, ...]
) -> Parameter:
    """Check a command that runs in batches, and return the parameter that stands for whatever its calls send."""
    most, wait = options.max_batch, options.max_wait_ms
    if kind not in (FUNCTION, COROUTINE):
        raise TypeError(f"command {name!r} is {kind} function, which cannot run in batches")
    if isolation == "fresh":
        raise ValueError(f"command {name!r} has a fresh worker for each call, so it cannot run in batches")
    if options.concurrency is not None:
        raise ValueError(f"command {name!r} runs in batches, so max_batch says how many calls run at once, not concurrency")
    if isinstance(most, bool) or not isinstance(most, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"max_batch of command {name!r} is a whole number, not {most!r}")
    if most < 1:
        raise ValueError(f"max_batch of command {name!r} is {most}, but must be at least 1")
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"max_wait_ms of command {name!r} is a number of milliseconds, not {wait!r}")
    if not 0 <= wait < math.inf:
        raise ValueError(f"max_wait_ms of command {name!r} is {wait!r}, but must be at least 0 and finite")
    if len(parameters) != 1 or parameters[0].variadic or not parameters[0].by_position:
        raise TypeError(f"command {name!r} runs in batches, so it takes one argument by position: the list of arguments")
    return Parameter(parameters[0].name, False, "", None, False, True, False)


def describe(command: Command, schemas: bool = True) -> Dict[str, object]:
    """Describe a command as READY does, with schemas and summary or without. Source: docs/protocol.md, section 3."""
    description: Dict[str, object] = {"name": command.name}
    if command.doc and schemas:
        description["summary"] = summary(command.doc)
    if command.doc:
        description["doc"] = command.doc
    description["parameters"] = [_describe_parameter(p) for p in command.parameters]
    if command.timeout_ms is not None:
        description["timeout_ms"] = command.timeout_ms
    if command.idempotent:
        description["idempotent"] = True
    if command.isolation != "shared":
        description["isolation"] = command.isolation
    if command.streams:
        description["stream"] = True
    if command.concurrency > 1:
        description["concurrency"] = command.concurrency
    worked = command.types.worked_out() if schemas else None
    if worked is not None and worked.args_schema is not None:
        description["args_schema"] = worked.args_schema
    if worked is not None and worked.result_schema is not None:
        description["result_schema"] = worked.result_schema
    if worked is not None and worked.undescribed:
        description["undescribed"] = worked.undescribed
    return description


def _work_out(function: Function, name: str, kind: str, batch: bool) -> Worked:
    from ._typed import work_out  # here, since it takes time

    return work_out(function, name, kind in (GENERATOR, ASYNC_GENERATOR), batch)


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
            by_position=p.kind in (_POSITIONAL, p.POSITIONAL_OR_KEYWORD),
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
