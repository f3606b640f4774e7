"""Types of pydantic and msgspec, by way of these libraries; only if the app has imported them."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final, List, Mapping, Optional, Tuple, get_args

from ._hints import Scope
from ._types import Misfit, Schema, Type

if TYPE_CHECKING:
    from ._schema import Builder

_REF: Final = "#/$defs/{model}"
_dumps: Final = json.JSONEncoder(ensure_ascii=False).encode
_STEP: Final = re.compile(r"\[(\d+)\]|\.([^.\[]+)")
_PLACE: Final = re.compile(r"(.*) - at `(?:key(?:` in `| in ))?\$(.*)`", re.DOTALL)


def model(builder: Builder, hint: Any, cls: Any) -> Optional[Type]:
    """Return the type of a class that one of these libraries knows best, or None."""
    if "pydantic" in sys.modules and _is_pydantic(cls):
        return builder.named(hint, cls.__name__, lambda: _pydantic(builder, hint))
    msgspec: Any = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        return builder.named(hint, cls.__name__, lambda: _struct(builder, msgspec, hint))
    return None


def annotated(builder: Builder, hint: Any, scope: Scope) -> Optional[Type]:
    """Return the type of an Annotated that holds validators of pydantic, or None."""
    if "pydantic" in sys.modules and any(hasattr(one, "__get_pydantic_core_schema__") for one in get_args(hint)[1:]):
        return _pydantic(builder, hint)
    return None


def _is_pydantic(cls: Any) -> bool:
    return any(name in vars(base) for base in cls.__mro__ for name in ("__pydantic_core_schema__", "__get_pydantic_core_schema__"))


def _pydantic(builder: Builder, hint: Any) -> Type:
    pydantic: Any = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(hint)
    mode = "serialization" if builder.out else "validation"
    validate, invalid = adapter.validator.validate_json, pydantic.ValidationError

    def convert(value: Any) -> Any:
        try:
            return validate(_dumps(value), strict=True)
        except invalid as exc:
            whole = _whole(value)
            if whole is not value:
                try:
                    return validate(_dumps(whole), strict=True)
                except invalid as again:
                    exc = again
            errors = exc.errors(include_url=False, include_context=False)
            raise _misfit(value, [(error["loc"], error["msg"], error["type"] == "missing") for error in errors]) from None

    try:
        schema: Schema = builder.hoist(adapter.json_schema(ref_template=_REF, mode=mode))
    except Exception as exc:  # it has fields that JSON Schema cannot describe
        schema = builder.give_up(hint, exc).schema
    return Type(schema, convert)


def _whole(value: Any) -> Any:
    """Return a value with all 1.0 in it as 1, which is an integer too; itself if there are none."""
    if value.__class__ is float:
        return int(value) if value.is_integer() else value
    if value.__class__ is dict:
        members = {name: _whole(one) for name, one in value.items()}
        return members if any(members[name] is not one for name, one in value.items()) else value
    if value.__class__ is list:
        items = [_whole(one) for one in value]
        return items if any(new is not one for new, one in zip(items, value)) else value
    return value


def _misfit(value: Any, errors: List[Tuple[Tuple[Any, ...], str, bool]]) -> Misfit:
    """Point at what a library finds wrong, without the steps of its places that are not in the value, such as `int` in a union.

    Args:
        value: What does not fit.
        errors: The place of each, what is wrong there, and whether it is that the last step of the place is missing.
    """
    misfit = Misfit()
    for place, detail, missing in errors:
        path: List[object] = []
        at = value
        for number, step in enumerate(place, 1):
            if at.__class__ is dict and step in at or at.__class__ is list and step.__class__ is int and step < len(at):
                at = at[step]
            elif not (missing and at.__class__ is dict and number == len(place)):
                continue
            path.insert(0, step)
        misfit.problems.append((path, detail if detail[1:2].isupper() else detail[:1].lower() + detail[1:]))
    return misfit


def _struct(builder: Builder, msgspec: Any, hint: Any) -> Type:
    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, hint, str_keys=True)
        except msgspec.ValidationError as exc:
            error, whole = exc, _whole(value)
        if whole is not value:
            try:
                return msgspec.convert(whole, hint, str_keys=True)
            except msgspec.ValidationError as exc:
                error = exc
        found = _PLACE.fullmatch(str(error))
        detail, place = (found[1], found[2]) if found else (str(error), "")
        steps = [int(number) if number else name for number, name in _STEP.findall(place.partition("[...]")[0])]
        raise _misfit(value, [(tuple(steps), detail, False)])

    try:
        (schema,), defs = msgspec.json.schema_components([hint], ref_template="#/$defs/{name}")
        return Type(builder.hoist({**schema, "$defs": defs}), convert)
    except Exception as exc:  # it has fields that JSON Schema cannot describe
        return Type(builder.give_up(hint, exc).schema, convert)


def repoint(schema: Any, renamed: Mapping[str, str]) -> Any:
    """Return a schema with other references in place of those that have been renamed."""
    if isinstance(schema, dict):
        return {key: _repointed(key, value, renamed) for key, value in schema.items()}
    return [repoint(item, renamed) for item in schema] if isinstance(schema, list) else schema


def _repointed(key: str, value: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(value, str):  # of $ref, or of the mapping of a discriminator
        return renamed.get(value, value)
    return value if key in ("default", "const", "enum", "examples") else repoint(value, renamed)
