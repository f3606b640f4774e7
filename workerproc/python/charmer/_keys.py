"""The names of members of an object as keys of a dict that are no text."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Final, Optional, Tuple

from ._types import Convert, Misfit, Schema, Type

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
    if key.convert is None or key.exact is str or key.classes is None or str not in key.classes:
        return {}, None
    return key.schema, key.convert


def _parsed(kind: Callable[[str], Any], convert: Convert, wanted: str) -> Convert:
    form = re.compile(_INTEGER_KEY if kind is int else _NUMBER_KEY).fullmatch

    def parse(name: str) -> Any:
        if not form(name):
            raise Misfit(f"has a name that must be {wanted}")
        return convert(kind(name))

    return parse


def _one_of(name: str, table: Dict[str, bool]) -> bool:
    if name not in table:
        raise Misfit("has a name that must be true or false")
    return table[name]
