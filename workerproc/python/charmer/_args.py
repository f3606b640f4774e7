"""The arguments of a call against the parameters of its command."""

from __future__ import annotations

from math import isinf
from typing import Any, Dict, Final, Iterable, Iterator, List, Mapping, Tuple

from ._commands import Command
from ._types import MAX_PROBLEMS, Misfit

_MAX_POINTER: Final = 200
_MAX_DETAIL: Final = 1000


class ArgsRefused(Exception):
    """Arguments that do not fit the types of a command. errors: as misfits returns them."""

    def __init__(self, command: str, errors: List[Dict[str, str]]) -> None:
        super().__init__(command, errors)
        self.command = command
        self.errors = errors


def misfits(command: Command, args: Mapping[str, object]) -> List[Dict[str, str]]:
    """Say what is wrong with the names of the arguments of a call.

    Returns:
        A list of `{"pointer": JSON pointer into args, "detail": sentence}`, empty if the arguments fit.
    """
    wrong: List[Dict[str, str]] = []
    if not command.variadic:
        wrong += [_misfit([name], "unknown argument") for name in args if name not in command.allowed]
    wrong += [_misfit([p.name], "is required") for p in command.parameters if p.required and p.name not in args]
    return _first(wrong, len(wrong))


def overflows(args: Dict[str, Any]) -> List[Dict[str, str]]:
    """Point at the numbers that are too large for a float, as misfits does: those that were decoded as infinite."""
    wrong: List[Dict[str, str]] = []
    found = 0
    path: List[object] = []
    levels: List[Iterator[Tuple[object, Any]]] = [iter(args.items())]
    while levels:
        for step, value in levels[-1]:
            if isinstance(value, (dict, list)):
                path.append(step)
                levels.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))
                break
            if isinstance(value, float) and isinf(value):
                found += 1
                if found <= MAX_PROBLEMS:
                    wrong.append(_misfit([*path, step], "a number is too large for a float"))
        else:
            levels.pop()
            del path[-1:]
    return _first(wrong, found)


def refused(misfit: Misfit) -> List[Dict[str, str]]:
    """Point at the values that do not fit their types, as misfits does."""
    wrong = [_misfit(reversed(path), detail) for path, detail in misfit.problems[:MAX_PROBLEMS]]
    if len(misfit.problems) > MAX_PROBLEMS:
        wrong.append({"pointer": "", "detail": "and more do not fit"})
    return wrong


def place(command: Command, args: Dict[str, Any]) -> Tuple[List[object], Dict[str, Any]]:
    """Split arguments that fit into those by position, for positional-only parameters, and those by name."""
    names = {p.name for p in command.positional}
    by_position: List[object] = [args.get(p.name, p.default) for p in command.positional]
    return by_position, {name: value for name, value in args.items() if name not in names}


def _first(wrong: List[Dict[str, str]], found: int) -> List[Dict[str, str]]:
    if found > MAX_PROBLEMS:
        wrong[MAX_PROBLEMS:] = [{"pointer": "", "detail": f"and {found - MAX_PROBLEMS} more do not fit"}]
    return wrong


def _misfit(path: Iterable[object], detail: str) -> Dict[str, str]:
    """Point at a value; if that takes too much, at the last around it which does not."""
    pointer = ""
    for step in path:
        token = "/" + str(step)[:_MAX_POINTER].replace("~", "~0").replace("/", "~1")
        if pointer and len(pointer) + len(token) > _MAX_POINTER:
            break
        pointer += token
    return {"pointer": pointer, "detail": detail[:_MAX_DETAIL]}
