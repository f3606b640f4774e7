"""Types of some given values: Literal and Enum."""

from __future__ import annotations

import enum
import json
from math import isfinite
from typing import Any, Dict, Final, List, Tuple
from typing import Type as Class

from ._types import Misfit, Schema, Type, refuse
from ._values import plain_value

_KINDS: Final[Dict[type, str]] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_MAX_TOLD: Final = 10


def literal(choices: Tuple[Any, ...]) -> Type:
    """Return the type of a Literal."""
    return _choices([(plain_value(choice), choice) for choice in choices], {})


def enumeration(cls: Class[enum.Enum]) -> Type:
    """Return the type of an Enum: its members by their values, and those of a Flag in any combination."""
    doc = (cls.__doc__ or "").strip()
    told: Schema = {"description": doc} if "__doc__" in vars(cls) and doc and doc != "An enumeration." else {}
    if issubclass(cls, enum.Flag):
        return _flag(cls, told)
    if not len(cls):
        raise TypeError(f"{cls.__name__} has no members")
    return _choices([(plain_value(member), member) for member in cls], told)


def _flag(cls: Class[enum.Flag], told: Schema) -> Type:
    mask = 0
    for member in cls:
        mask |= member.value

    def convert(value: Any) -> Any:
        if value.__class__ is float and value.is_integer():
            value = int(value)
        if value.__class__ is not int:
            raise refuse(value, "an integer")
        if value < 0 or value & ~mask:
            raise Misfit(f"must be a sum of values of {cls.__name__}")
        return cls(value)

    return Type({"type": "integer", "minimum": 0, "maximum": mask, **told}, convert, frozenset((int, float)))


def _choices(choices: List[Tuple[Any, Any]], told: Schema) -> Type:
    unique: Dict[Any, Any] = {}
    for value, _ in choices:
        if value.__class__ is float and not isfinite(value):
            raise ValueError(f"JSON cannot carry {value!r}")
        unique.setdefault(_key(value), value)
    values = list(unique.values())
    schema: Schema = {"const": values[0]} if len(values) == 1 else {"enum": values}
    kinds = {_KINDS.get(value.__class__) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind:
        schema = {"type": kind, **schema}
    table = {_key(value): chosen for value, chosen in reversed(choices)}
    told_values = [json.dumps(value, ensure_ascii=False) for value in values[:_MAX_TOLD]]
    if len(values) > _MAX_TOLD:
        told_values.append(f"one of {len(values) - _MAX_TOLD} more")
    wanted = " or ".join([", ".join(told_values[:-1]), told_values[-1]] if len(told_values) > 1 else told_values)

    def convert(value: Any) -> Any:
        try:
            return table[_key(value)]
        except KeyError:
            raise Misfit(f"must be {wanted}") from None

    classes = frozenset(cls for value in values for cls in _classes(value))
    return Type({**schema, **told}, convert, classes)


def _classes(value: Any) -> Tuple[type, ...]:
    return (int, float) if value.__class__ in (int, float) else (value.__class__,)


def _key(value: Any) -> Any:
    """Return what is equal for values that are equal in JSON, where true is not 1."""
    if value.__class__ in (list, dict):
        return json.dumps(value, sort_keys=True)
    return value.__class__ is bool, value
