"""Types that hold others of one kind: lists, sets, tuples, dicts."""

from __future__ import annotations

import collections
import collections.abc as abc
from typing import Any, Callable, Dict, Final, List, Optional, Sequence, Set, Tuple

from ._keys import is_key, key_type
from ._plain import convert_int
from ._types import ARRAY, OBJECT, Misfit, Schema, Type, anything, refuse

_LISTS: Final[Dict[object, Callable[[List[Any]], Any]]] = {
    list: list,
    collections.deque: collections.deque,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Reversible: list,
}
_SETS: Final[Dict[object, Callable[[List[Any]], Any]]] = {
    set: set,
    frozenset: frozenset,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
_DICTS: Final[Dict[object, Callable[[Dict[Any, Any]], Any]]] = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.Counter: collections.Counter,
}


def container(cls: type, items: Sequence[Type], args: Tuple[Any, ...]) -> Optional[Type]:
    """Return the type of a container, or None if the class is none of these.

    Args:
        cls: The class, without what it holds.
        items: The types of what it holds.
        args: The hints that these were built from, with the `...` of a tuple.
    """
    if cls is tuple:
        if not args or args[-1] is ... or args == ((),):
            return _tuple(()) if args == ((),) else _array(items[0] if items else anything(), tuple)
        return _tuple(items)
    if cls in _LISTS:
        return _array(items[0] if items else anything(), _LISTS[cls])
    if cls in _SETS:
        return _set(items[0] if items else anything(), _SETS[cls])
    if cls is collections.Counter:
        items = [*items[:1], Type({"type": "integer"}, convert_int, None, int)] if items else ()
    if cls in _DICTS:
        key, value = items if len(items) == 2 else (anything(), anything())
        return _dict(key, value, _DICTS[cls])
    return None


def odd_key(cls: type, items: Sequence[Type]) -> bool:
    """Tell whether a class is a dict whose keys cannot arrive as what they are to be."""
    return cls in _DICTS and len(items) == 2 and not is_key(items[0])


def convert_items(value: Any, item: Type) -> List[Any]:
    """Convert the items of an array.

    Raises:
        Misfit: It is none, or with all items that do not fit, or the first few of them.
    """
    if value.__class__ is not list:
        raise refuse(value, "an array")
    convert = item.convert
    if convert is None or item.exact is not None and set(map(type, value)) <= {item.exact}:
        return value  # type: ignore[no-any-return]
    converted: List[Any] = []
    wrong: Optional[Misfit] = None
    for index, one in enumerate(value):
        try:
            converted.append(convert(one))
        except Misfit as misfit:
            wrong = wrong or Misfit()
            if wrong.add(index, misfit):
                break
    if wrong is not None:
        raise wrong
    return converted


def _array(item: Type, make: Callable[[List[Any]], Any]) -> Type:
    schema: Schema = {"type": "array"}
    if item.schema:
        schema["items"] = item.schema

    def convert(value: Any) -> Any:
        converted = convert_items(value, item)
        return converted if make is list else make(converted)

    exact = list if make is list and item.convert is None else None
    return Type(schema, convert, ARRAY, exact)


def _set(item: Type, make: Callable[[List[Any]], Any]) -> Type:
    array = _array(item, make)

    def convert(value: Any) -> Any:
        items = convert_items(value, item)
        try:
            made = make(items)
        except TypeError:
            raise Misfit("has items that a set cannot hold") from None
        if len(made) == len(items):
            return made
        raise Misfit("is the same as one before it", _first_repeated(items))

    return Type({**array.schema, "uniqueItems": True}, convert, ARRAY)


def _first_repeated(items: List[Any]) -> int:
    seen: Set[Any] = set()
    for index, one in enumerate(items):
        if one in seen:
            return index
        seen.add(one)
    return -1


def _tuple(items: Sequence[Type]) -> Type:
    return Type(tuple_schema([item.schema for item in items], len(items)), lambda value: fixed(value, items, len(items)), ARRAY)


def tuple_schema(items: Sequence[Schema], least: int) -> Schema:
    """Return the schema of an array with an item of each of these schemas, of which the last may be left out."""
    schema: Schema = {"type": "array", "minItems": least, "maxItems": len(items)}
    if items:
        schema["prefixItems"] = list(items)
        schema["items"] = False
    return schema


def fixed(value: Any, items: Sequence[Type], least: int) -> Tuple[Any, ...]:
    """Convert an array with an item of each of these types, of which the last may be left out.

    Raises:
        Misfit: It is none, or has items that do not fit.
    """
    if value.__class__ is not list:
        raise refuse(value, "an array")
    if not least <= len(value) <= len(items):
        wanted = str(least) if least == len(items) else f"{least} to {len(items)}"
        raise Misfit(f"must have {wanted} items, not {len(value)}")
    converted: List[Any] = []
    wrong = Misfit()
    for index, (one, item) in enumerate(zip(value, items)):
        try:
            converted.append(one if item.convert is None else item.convert(one))
        except Misfit as misfit:
            if wrong.add(index, misfit):
                break
    if wrong.problems:
        raise wrong
    return tuple(converted)


def _dict(key: Type, value: Type, make: Callable[[Dict[Any, Any]], Any]) -> Type:
    schema: Schema = {"type": "object"}
    names, convert_key = key_type(key)
    if names:
        schema["propertyNames"] = names
    if value.schema:
        schema["additionalProperties"] = value.schema
    passes = convert_key is None and value.convert is None and make is dict

    def convert(given: Any) -> Any:
        if given.__class__ is not dict:
            raise refuse(given, "an object")
        if passes:
            return given
        converted: Dict[Any, Any] = {}
        wrong: Optional[Misfit] = None
        for name, one in given.items():
            try:
                held = name if convert_key is None else convert_key(name)
                converted[held] = one if value.convert is None else value.convert(one)
            except Misfit as misfit:
                wrong = wrong or Misfit()
                if wrong.add(name, misfit):
                    break
        if wrong is not None:
            raise wrong
        return converted if make is dict else make(converted)

    return Type(schema, convert, OBJECT, dict if passes else None)
