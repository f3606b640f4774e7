"""From a type hint to its schema and its conversion. What cannot be described is `{}` and passes as it is."""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import Any, Callable, Dict, Final, FrozenSet, List, Mapping, Optional, Tuple, TypeVar, get_args, get_origin

from . import _attrs, _containers, _enums, _models, _objects, _plain, _unions
from ._bounds import bounded, description_in
from ._hints import Scope, key_of, read, special, text_of
from ._types import ARRAY, OBJECT, Schema, Type, anything
from ._undescribed import undescribed
from ._variables import bind, closed

_TRANSPARENT: Final = frozenset(("Final", "Required", "NotRequired", "ReadOnly", "ClassVar"))
_UNIONS: Final = frozenset(("Union", "Optional", "UnionType"))


class Builder:
    """Builds the types of one schema.

    Attributes:
        out: Whether it is for results, which are told as they are sent, and else for arguments.
        defs: The schemas of what has a name, for `$defs`.
        undescribed: The hints that could not be described.
    """

    def __init__(self, out: bool) -> None:
        self.out = out
        self.defs: Dict[str, Schema] = {}
        self.undescribed: List[Dict[str, str]] = []
        self._named: Dict[object, Type] = {}
        self._open: Dict[object, Optional[Type]] = {}  # hints being built, with what stands for them where they refer to themselves

    def build(self, hint: object, scope: Scope) -> Type:
        """Build the type of a hint. Never raises."""
        try:
            hint = closed(hint, scope.variables)
            if get_origin(hint) is None or text_of(hint) is not None:
                return self._build(hint, scope)
            key = key_of(hint)
            self._open[key] = None
        except Exception as exc:
            return self.give_up(hint, exc)
        try:
            made = self._build(hint, scope)
        except Exception as exc:
            made = self.give_up(hint, exc)
        stand_in = self._open.pop(key)
        if stand_in is None:
            return made
        self._fill(stand_in, made)
        return stand_in

    def named(
        self, key: object, name: str, make: Callable[[], Type], classes: Optional[FrozenSet[type]] = None
    ) -> Type:
        """Build what has a name once, and return a reference to it; it may refer to itself.

        Args:
            key: The hint or class of which it is the name.
            name: Its name.
            make: Builds it.
            classes: As in Type, if that is known before.
        """
        known = key_of(key)
        there = self._named.get(known)
        if there is None:
            there = self._named[known] = self._stand_in(name)
            there.classes = classes
            made, around = anything(), self._open
            self._open = {}  # a cycle through what has a name is no concern of what is read around it
            try:
                made = make()
            except Exception as exc:  # it cannot be described
                self.give_up(key, exc)
            self._open = around
            self._fill(there, made)
        return there

    def give_up(self, hint: object, why: Optional[Exception] = None) -> Type:
        """Note that a hint cannot be described, and return the type of anything."""
        self.undescribed.append(undescribed(hint, why))
        return anything()

    def hoist(self, schema: Schema) -> Schema:
        """Take the `$defs` of a schema that a library has made into ours, under names that are free."""
        own: Mapping[str, Schema] = schema.pop("$defs", {})
        renamed = {f"#/$defs/{name}": f"#/$defs/{self._reserve(name)}" for name in own}
        for name, inner in own.items():
            self.defs[renamed[f"#/$defs/{name}"].rpartition("/")[2]] = _models.repoint(inner, renamed)
        moved: Schema = _models.repoint(schema, renamed)
        return moved

    def _stand_in(self, name: str) -> Type:
        stand_in = Type({"$ref": f"#/$defs/{self._reserve(name)}"})
        stand_in.convert = lambda value: _again(stand_in, value)
        return stand_in

    def _fill(self, stand_in: Type, made: Type) -> None:
        self.defs[stand_in.schema["$ref"].rpartition("/")[2]] = made.schema
        stand_in.convert, stand_in.exact, stand_in.classes = made.convert or _same, made.exact, made.classes
        stand_in.suits = made.suits

    def _reserve(self, name: str) -> str:
        plain = free = re.sub(r"\W+", "_", name).strip("_") or "Type"
        number = 1
        while free in self.defs:
            number += 1
            free = f"{plain}_{number}"
        self.defs[free] = {}
        return free

    def _build(self, hint: Any, scope: Scope) -> Type:
        if text_of(hint) is not None:
            return self._read(hint, scope)
        if hint is None:
            hint = type(None)
        if hint is Any or hint is object:
            return anything()
        if isinstance(hint, TypeVar):
            return self._variable(hint, scope)
        origin, args = get_origin(hint), get_args(hint)
        form = special(origin if origin is not None else hint)
        if form == "Annotated":
            return _models.annotated(self, hint, scope) or self._annotated(args, scope)
        if form in _TRANSPARENT and args:
            return self.build(args[0], scope)
        if form == "Literal":
            return _enums.literal(args)
        if form == "LiteralString":
            return self.build(str, scope)
        if form in _UNIONS or getattr(origin, "__name__", "") in _UNIONS:
            return _unions.union([self.build(arg, scope) for arg in args])
        if hasattr(hint, "__supertype__"):  # a NewType
            return self.build(hint.__supertype__, scope)
        if hasattr(origin or hint, "__value__"):  # a `type X = ...`
            alias = origin or hint
            if args:
                scope = scope._replace(variables=bind(alias, args))
            return self.named(hint, alias.__name__, lambda: self.build(alias.__value__, scope))
        if isinstance(hint, type) or origin is not None:
            return self._class(hint, origin if isinstance(origin, type) else hint, args, scope)
        return self.give_up(hint)

    def _class(self, hint: Any, cls: Any, args: Tuple[Any, ...], scope: Scope) -> Type:
        if cls is tuple and not args and hint not in (tuple, Tuple):
            args = ((),)  # Tuple[()], the empty one
        variables = bind(cls, args)
        name = "_".join([cls.__name__, *(getattr(arg, "__name__", "") for arg in args)])
        model = _models.model(self, hint, cls)
        if model is not None:
            return model
        if issubclass(cls, enum.Enum):
            return self.named(cls, name, lambda: _enums.enumeration(cls))
        if dataclasses.is_dataclass(cls):
            return self.named(hint, name, lambda: _objects.dataclass_type(self, cls, variables), OBJECT)
        if _attrs.is_attrs(cls):
            return self.named(hint, name, lambda: _attrs.attrs_type(self, cls, variables), OBJECT)
        if _objects.is_typed_dict(cls):
            return self.named(hint, name, lambda: _objects.typed_dict(self, cls, variables), OBJECT)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self.named(hint, name, lambda: _objects.named_tuple(self, cls, variables), ARRAY)
        if any(getattr(arg, "__unpacked__", False) or special(get_origin(arg)) == "Unpack" for arg in args):
            raise TypeError("it has a * in it")
        before = len(self.undescribed)
        held = [self.build(arg, scope) for arg in args if arg is not ... and arg != ()]
        made = _plain.plain(cls, self.out) or _containers.container(cls, held, args)
        if made is None:
            del self.undescribed[before:]  # what it is a Callable of, say, is part of it
            made = self.give_up(hint)
        elif len(self.undescribed) == before and _containers.odd_key(cls, held):
            self.undescribed.append(undescribed(args[0], "keys of dicts arrive as text"))
        return made

    def _variable(self, variable: Any, scope: Scope) -> Type:
        if variable.__constraints__:
            return _unions.union([self.build(one, scope) for one in variable.__constraints__])
        return anything() if variable.__bound__ is None else self.build(variable.__bound__, scope)

    def _annotated(self, args: Tuple[Any, ...], scope: Scope) -> Type:
        inner = bounded(self.build(args[0], scope), args[1:])
        told = description_in(args[1:])
        if told:
            inner = Type({**inner.schema, "description": told}, inner.convert, inner.classes, inner.exact, inner.suits)
        return inner

    def _read(self, hint: object, scope: Scope) -> Type:
        """Build what a hint in text means; what is being built already gets the text as its name."""
        found = closed(read(hint, scope), scope.variables)
        key = key_of(found)
        if key not in self._open:
            return self.build(found, scope)
        there = self._open[key]
        if there is None:
            there = self._open[key] = self._stand_in(text_of(hint) or "")
        return there


def _again(stand_in: Type, value: Any) -> Any:
    convert = stand_in.convert
    return value if convert is None else convert(value)


def _same(value: Any) -> Any:
    return value
