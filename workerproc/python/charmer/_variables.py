"""Type variables: what stands for them in a generic class, in those above it, and in its hints."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, TypeVar, Union, get_args, get_origin


def variables_of(cls: type, variables: Mapping[object, object]) -> Dict[type, Mapping[object, object]]:
    """Return what stands for the type variables of a class and of each above it: in `class Ints(Box[int])` for those of Box."""
    bound: Dict[type, Mapping[object, object]] = {cls: variables}
    todo: List[type] = [cls]
    for one in todo:
        own = bound[one]
        for alias in vars(one).get("__orig_bases__", ()):
            base = get_origin(alias)
            if isinstance(base, type) and base not in bound:
                bound[base] = bind(base, [closed(arg, own) for arg in get_args(alias)])
                todo.append(base)
        for base in one.__bases__:
            if base not in bound:
                bound[base] = {}
                todo.append(base)
    return bound


def bind(generic: Any, args: Sequence[Any]) -> Dict[object, object]:
    """Say what stands for the type variables of a class, or of a `type X[T] = ...`, with these arguments.

    Nothing in that is a type variable itself, lest one stand for what holds it; those of the function stand for what they allow.
    """
    parameters: Any = getattr(generic, "__type_params__", ()) or getattr(generic, "__parameters__", ())
    return {p: closed(arg, {v: _allowed(v) for v in _free(arg)}) for p, arg in zip(parameters, args)}


def closed(hint: Any, variables: Mapping[object, object]) -> Any:
    """Put what stands for type variables into a hint, which is returned as it is if it has none of these."""
    if not variables:
        return hint
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    free = _free(hint)
    if not any(variable in variables for variable in free):
        return hint
    try:
        return hint[tuple(variables.get(variable, variable) for variable in free)]
    except TypeError:  # it has variables of other kinds
        return hint


def _free(hint: Any) -> Sequence[Any]:
    """Return the type variables in a hint."""
    if isinstance(hint, TypeVar):
        return (hint,)
    return () if get_origin(hint) is None else getattr(hint, "__parameters__", ())


def _allowed(variable: Any) -> object:
    if getattr(variable, "__constraints__", ()):
        return Union[variable.__constraints__]
    return Any if getattr(variable, "__bound__", None) is None else variable.__bound__
