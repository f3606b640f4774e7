"""Classes of attrs, by what they say of themselves; only if the app has imported it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

from ._hints import class_hints, class_scope
from ._objects import Field, object_type
from ._types import Type, anything
from ._values import attrs_name, default_schema

if TYPE_CHECKING:
    from ._schema import Builder


def is_attrs(cls: type) -> bool:
    """Tell whether a class is one of attrs."""
    return "attr" in sys.modules and hasattr(cls, "__attrs_attrs__")


def attrs_type(builder: Builder, cls: Any, variables: Mapping[object, object]) -> Type:
    """Build the type of a class: an object with the fields that its constructor takes, or for results, that it has.

    What a field with a converter takes only that knows: its hint is of what comes out.
    """
    attr: Any = sys.modules["attr"]
    hints = class_hints(cls, variables)
    fields: List[Field] = []
    for one in cls.__attrs_attrs__:
        if not (one.init or builder.out):
            continue
        hint, scope = hints.get(one.name) or (Any if one.type is None else one.type, class_scope(cls, variables))
        type = builder.build(hint, scope) if builder.out or one.converter is None else anything()
        default: Dict[str, Any] = {}
        if not (builder.out or one.default is attr.NOTHING or isinstance(one.default, attr.Factory)):
            default = default_schema(one.default, type)
        required = builder.out or one.default is attr.NOTHING
        fields.append(Field(attrs_name(one), type, {**type.schema, **default}, required))
    return object_type(fields, cls)
