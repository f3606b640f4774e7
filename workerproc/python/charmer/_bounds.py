"""Bounds in Annotated: ours, and by their attributes those of annotated_types, pydantic and msgspec."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, Callable, Dict, Final, Iterator, List, Optional, Sequence, Tuple

from ._types import Misfit, Schema, Type

_NAMES: Final = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
_NUMBERS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf"}
_LENGTHS: Final[Dict[str, Tuple[str, str]]] = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


@dataclass(frozen=True)
class Bounds:
    """What a value must keep to, for Annotated: `Annotated[int, Bounds(ge=0)]`.

    Args:
        ge: It is at least this.
        gt: It is more than this.
        le: It is at most this.
        lt: It is less than this.
        multiple_of: It is a multiple of this.
        min_length: Characters, bytes, items or members that it has at least.
        max_length: Characters, bytes, items or members that it has at most.
        pattern: A regular expression that is found in it; with `^` and `$` it must match the whole.

    Raises:
        ValueError: pattern is no regular expression, or multiple_of is not above 0.
    """

    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None
    multiple_of: Any = None
    min_length: Optional[int] = None
    max_length: Optional[int] = None
    pattern: Optional[str] = None

    def __post_init__(self) -> None:
        if self.multiple_of is not None and not self.multiple_of > self.multiple_of * 0:
            raise ValueError(f"multiple_of of Bounds is more than 0, not {self.multiple_of!r}")
        try:
            re.compile(self.pattern or "")
        except re.error as exc:
            raise ValueError(f"pattern {self.pattern!r} of Bounds is no regular expression: {exc}") from None


Bounds.__module__ = "charmer"


def bounded(type: Type, metadata: Sequence[object]) -> Type:
    """Return a type within the bounds that stand beside its hint in Annotated."""
    bounds = list(_bounds(metadata))
    if not bounds:
        return type
    checks = [(_CHECKS[name](value), f"{_SENTENCES[name]} {_shown(value)}") for name, value in bounds]
    inner = type.convert

    def convert(value: Any) -> Any:
        converted = value if inner is None else inner(value)
        if converted is not None:
            for check, sentence in checks:
                if not _passes(check, converted):
                    raise Misfit(sentence)
        return converted

    return Type(_narrowed(type.schema, bounds), convert, type.classes, None, type.suits)


def description_in(metadata: Sequence[object]) -> str:
    """Return what Field, Meta or Doc in Annotated tell of a value."""
    for one in metadata:
        for name in ("description", "documentation"):
            told = getattr(one, name, None)
            if isinstance(told, str) and told:
                return told
    return ""


def _bounds(metadata: Sequence[object]) -> Iterator[Tuple[str, Any]]:
    for one in metadata:
        if isinstance(one, type):
            continue
        for name in _NAMES:
            value = getattr(one, name, None)
            if value is not None and not callable(value) and _usable(name, value):
                yield name, value
        inner = getattr(one, "metadata", None)  # of pydantic.Field
        if isinstance(inner, (list, tuple)):
            yield from _bounds(inner)


def _usable(name: str, value: Any) -> bool:
    if name == "pattern":
        value = getattr(value, "pattern", value)
        return isinstance(value, str) and bool(re.compile(value))
    if name in ("min_length", "max_length"):
        return isinstance(value, int) and (name == "max_length" or value > 0)
    if isinstance(value, float) and not isfinite(value):  # which bounds nothing that can come, or all of it
        return False
    return name != "multiple_of" or value > value * 0


def _narrowed(schema: Schema, bounds: List[Tuple[str, Any]]) -> Schema:
    """Return a schema with the bounds that its kind of value can have."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_narrowed(member, bounds) for member in schema["anyOf"]]}
    kind = schema.get("type")
    added: Schema = {}
    for name, value in bounds:
        if kind in ("integer", "number") and name in _NUMBERS and isinstance(value, (int, float)):
            added[_NUMBERS[name]] = value
        elif kind in _LENGTHS and "contentEncoding" not in schema and name in ("min_length", "max_length"):
            added[_LENGTHS[kind][name == "max_length"]] = value
        elif kind == "string" and name == "pattern":
            added["pattern"] = getattr(value, "pattern", value)
    return {**schema, **added}


def _passes(check: Callable[[Any], bool], value: Any) -> bool:
    try:
        return check(value)
    except TypeError:  # of another kind, which this bound does not concern
        return True


def _is_multiple(value: Any, unit: Any) -> bool:
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError("% means something else for them")
    if isinstance(value, int) and isinstance(unit, int):
        return value % unit == 0
    from decimal import Decimal

    if not isinstance(value, (int, float, Decimal)):  # but a timedelta
        return not value % unit
    one, other = Decimal(str(value)).as_tuple(), Decimal(str(unit)).as_tuple()
    digits, shift = one.digits, int(one.exponent) - int(other.exponent)
    if shift < 0:
        if any(digits[shift:]):
            return False
        digits, shift = digits[:shift], 0
    step, rest = int("".join(map(str, other.digits))), 0
    for digit in digits:  # by hand, since Python makes no int of thousands of digits
        rest = (rest * 10 + digit) % step
    return rest * pow(10, shift, step) % step == 0


def _shown(value: Any) -> str:
    return str(getattr(value, "pattern", value))


def _searcher(pattern: Any) -> Callable[[Any], bool]:
    search = re.compile(getattr(pattern, "pattern", pattern)).search
    return lambda value: search(value) is not None


_CHECKS: Final[Dict[str, Callable[[Any], Callable[[Any], bool]]]] = {
    "ge": lambda bound: lambda value: bool(value >= bound),
    "gt": lambda bound: lambda value: bool(value > bound),
    "le": lambda bound: lambda value: bool(value <= bound),
    "lt": lambda bound: lambda value: bool(value < bound),
    "multiple_of": lambda unit: lambda value: _is_multiple(value, unit),
    "min_length": lambda least: lambda value: len(value) >= least,
    "max_length": lambda most: lambda value: len(value) <= most,
    "pattern": _searcher,
}
_SENTENCES: Final = {
    "ge": "must be at least",
    "gt": "must be more than",
    "le": "must be at most",
    "lt": "must be less than",
    "multiple_of": "must be a multiple of",
    "min_length": "must have a length of at least",
    "max_length": "must have a length of at most",
    "pattern": "must match",
}
