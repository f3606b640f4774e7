"""Types with fields: dataclasses, TypedDicts, NamedTuples."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple, get_args, get_origin

from ._containers import fixed, tuple_schema
from ._hints import Scope, class_hints, class_scope, read, special, text_of
from ._types import ARRAY, OBJECT, SUITED, Misfit, Schema, Type, refuse
from ._values import default_schema
from ._variables import variables_of

if TYPE_CHECKING:
    from ._schema import Builder

_FACTORIES = (list, dict, set)
_AROUND_REQUIRED = ("Annotated", "ReadOnly")


class Field(NamedTuple):
    """A field of an object."""

    name: str
    type: Type
    schema: Schema
    required: bool


def dataclass_type(builder: Builder, cls: Any, variables: Mapping[object, object]) -> Type:
    """Build the type of a dataclass: an object with the fields that its constructor takes, or for results, that it has."""
    hints = class_hints(cls, variables)
    fields: List[Field] = []
    for field in cls.__dataclass_fields__.values():
        kind = getattr(field, "_field_type", None)
        if kind is getattr(dataclasses, "_FIELD_CLASSVAR", 0):
            continue
        only_init = kind is getattr(dataclasses, "_FIELD_INITVAR", 0)
        if only_init if builder.out else not field.init:
            continue
        hint, scope = hints.get(field.name) or (field.type, class_scope(cls, variables))
        type = builder.build(_inside_initvar(hint, scope), scope)
        schema, required = type.schema, True
        if not builder.out and field.default is not dataclasses.MISSING:
            schema, required = {**schema, **default_schema(field.default, type)}, False
        elif not builder.out and field.default_factory is not dataclasses.MISSING:
            factory = field.default_factory
            schema, required = {**schema, **(default_schema(factory(), type) if factory in _FACTORIES else {})}, False
        fields.append(Field(field.name, type, schema, required))
    return object_type(fields, cls)


def object_type(fields: Sequence[Field], cls: Any) -> Type:
    """Return the type of a class whose constructor takes these fields by name."""
    return _object(fields, _maker(cls), _told(cls))


def typed_dict(builder: Builder, cls: Any, variables: Mapping[object, object]) -> Type:
    """Build the type of a TypedDict: an object with these members and no others."""
    bound: Dict[object, object] = {}
    for one in variables_of(cls, variables).values():  # the hints of those above it are among its own
        bound.update(one)
    scope = class_scope(cls, bound)
    fields: List[Field] = []
    for name, hint in cls.__annotations__.items():
        required = name in getattr(cls, "__required_keys__", cls.__annotations__)
        inner = _read(hint, scope)
        while special(get_origin(inner)) in _AROUND_REQUIRED:
            inner = _read(get_args(inner)[0], scope)
        form = special(get_origin(inner))
        if form in ("Required", "NotRequired"):
            required = form == "Required"
        type = builder.build(hint, scope)
        fields.append(Field(name, type, type.schema, required))
    return _object(fields, None, _told(cls))


def is_typed_dict(cls: type) -> bool:
    """Tell whether a class is a TypedDict."""
    return issubclass(cls, dict) and hasattr(cls, "__total__") and isinstance(getattr(cls, "__annotations__", None), dict)


def named_tuple(builder: Builder, cls: Any, variables: Mapping[object, object]) -> Type:
    """Build the type of a NamedTuple: an array, as which it is encoded, with its fields in their order."""
    hints = class_hints(cls, variables)
    defaults = getattr(cls, "_field_defaults", {})
    types: List[Type] = []
    schemas: List[Schema] = []
    for name in cls._fields:
        hint, scope = hints.get(name) or (Any, class_scope(cls, variables))
        types.append(builder.build(hint, scope))
        default = default_schema(defaults[name], types[-1]) if name in defaults and not builder.out else {}
        schemas.append({"title": name, **types[-1].schema, **default})
    least = len(types) if builder.out else len(types) - len(defaults)
    schema = {**tuple_schema(schemas, least), **_told(cls)}
    return Type(schema, lambda value: cls(*fixed(value, types, least)), ARRAY)


def _object(fields: Sequence[Field], make: Any, told: Schema) -> Type:
    by_name = {field.name: field.type for field in fields}
    required = [field.name for field in fields if field.required]
    schema: Schema = {"type": "object", "properties": {field.name: field.schema for field in fields}}
    if required:
        schema["required"] = required
    needed, allowed = frozenset(required), frozenset(by_name)
    tags = {name: one for name, one in by_name.items() if "const" in one.schema or "enum" in one.schema}

    def convert(value: Any) -> Any:
        if value.__class__ is not dict:
            raise refuse(value, "an object")
        converted: Dict[str, Any] = {}
        wrong = Misfit()
        for name, one in value.items():
            type = by_name.get(name)
            try:
                if type is None:
                    raise Misfit("unknown member")
                if type.convert is None or one.__class__ is type.exact:
                    converted[name] = one
                else:
                    converted[name] = type.convert(one)
            except Misfit as misfit:
                if wrong.add(name, misfit):
                    raise wrong from None
        if not needed <= value.keys():
            for name in required:
                if name not in value and wrong.add(name, Misfit("is required")):
                    break
        if wrong.problems:
            raise wrong
        return converted if make is None else make(converted)

    def suits(value: Any) -> int:
        if not all(_fits(tag, value[name]) for name, tag in tags.items() if name in value):
            return 0
        return SUITED if needed <= value.keys() <= allowed else bool(tags.keys() & value.keys())

    return Type({**schema, "additionalProperties": False, **told}, convert, OBJECT, None, suits)


def _maker(cls: Any) -> Callable[[Dict[str, Any]], Any]:
    def make(values: Dict[str, Any]) -> Any:
        try:
            return cls(**values)
        except (ValueError, TypeError) as exc:  # of its __post_init__, or of a validator
            raise Misfit(f"is no {cls.__name__}: {exc}"[:1000]) from exc

    return make


def _fits(type: Type, value: Any) -> bool:
    try:
        if type.convert is not None:
            type.convert(value)
    except Misfit:
        return False
    return True


def _inside_initvar(hint: object, scope: Scope) -> object:
    read_hint = _read(hint, scope)
    return read_hint.type if isinstance(read_hint, dataclasses.InitVar) else hint


def _read(hint: object, scope: Scope) -> object:
    """Read a hint if it is text that can be read, and else return it as it is."""
    if text_of(hint) is None:
        return hint
    try:
        return read(hint, scope)
    except Exception:
        return hint


def _told(cls: Any) -> Schema:
    """Return the description of a class: its docstring, unless it was made for it."""
    doc = vars(cls).get("__doc__")
    if not isinstance(doc, str) or not doc.strip() or doc.startswith(f"{cls.__name__}("):
        return {}
    import inspect

    return {"description": inspect.cleandoc(doc)}
