"""The arguments of a call against the parameters of its command."""

from __future__ import annotations

from typing import Any, Dict, Final, List, Mapping, Tuple

from ._commands import Command

_MAX_ERRORS: Final = 16
_MAX_POINTER: Final = 200


def misfits(command: Command, args: Mapping[str, object]) -> List[Dict[str, str]]:
    """Say what is wrong with the arguments of a call.

    Returns:
        A list of `{"pointer": JSON pointer into args, "detail": sentence}`, empty if the arguments fit.
    """
    wrong: List[Dict[str, str]] = []
    if not command.variadic:
        wrong += [_misfit(name, "unknown argument") for name in args if name not in command.allowed]
    wrong += [_misfit(p.name, "is required") for p in command.parameters if p.required and p.name not in args]
    if len(wrong) > _MAX_ERRORS:
        more = len(wrong) - _MAX_ERRORS
        wrong[_MAX_ERRORS:] = [{"pointer": "", "detail": f"and {more} more do not fit"}]
    return wrong


def place(command: Command, args: Dict[str, Any]) -> Tuple[List[object], Dict[str, Any]]:
    """Split arguments that fit into those by position, for positional-only parameters, and those by name."""
    names = {p.name for p in command.positional}
    by_position: List[object] = [args.get(p.name, p.default) for p in command.positional]
    return by_position, {name: value for name, value in args.items() if name not in names}


def _misfit(name: str, detail: str) -> Dict[str, str]:
    return {"pointer": "/" + name[:_MAX_POINTER].replace("~", "~0").replace("/", "~1"), "detail": detail}
