"""The names of members of an object as keys of a dict that are no text."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Final, Optional, Tuple

from ._types import NUMBER, Convert, Misfit, Schema, Type

_INTEGER_KEY: Final = r"^(0|-?[1-9][0-9]*)$"
_NUMBER_KEY: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def key_type(key: Type) -> Tuple[Schema, Optional[Convert]]:
    """Return the schema of the names of an object, and how they become keys of this type; as in results, they are text."""
    kind = key.schema.get("type")
    if kind == "integer" and key.convert is not None:
        return {"pattern": _INTEGER_KEY}, _parsed(int, key.convert, "an integer")
    if kind == "number" and key.convert is not None:
        return {"pattern": _NUMBER_KEY}, _parsed(float, key.convert, "a number")
    if kind == "boolean":
        return {"enum": ["true", "false"]}, lambda name: _one_of(name, {"true": True, "false": False})
    if key.convert is not None and key.classes is not None and key.classes <= NUMBER:  # an IntEnum
        return {}, _number(key.convert)
    if key.convert is None or key.exact is str or not is_text(key):
        return {}, None
    return key.schema, key.convert


def is_key(key: Type) -> bool:
    """Tell whether values of a type can be keys: all others arrive as the text that names are."""
    return key.convert is None or is_text(key) or key_type(key)[1] is not None


def is_text(key: Type) -> bool:
    """Tell whether values of a type can be text; of those of libraries only their schema tells."""
    return str in key.classes if key.classes is not None else key.schema.get("type") == "string"


def _parsed(kind: Callable[[str], Any], convert: Convert, wanted: str) -> Convert:
    form = re.compile(_INTEGER_KEY if kind is int else _NUMBER_KEY).fullmatch

    def parse(name: str) -> Any:
        if not form(name):
            raise Misfit(f"has a name that must be {wanted}")
        try:
            number = kind(name)
        except ValueError:
            raise Misfit("has a name of more digits than Python reads") from None
        if number - number:  # nan if it is infinite, else 0
            raise Misfit("has a name that is too large for a float")
        return convert(number)

    return parse


def _number(convert: Convert) -> Convert:
    whole, other = _parsed(int, convert, "an integer"), _parsed(float, convert, "a number")
    return lambda name: (whole if name.lstrip("-").isdecimal() else other)(name)


def _one_of(name: str, table: Dict[str, bool]) -> bool:
    if name not in table:
        raise Misfit("has a name that must be true or false")
    return table[name]
