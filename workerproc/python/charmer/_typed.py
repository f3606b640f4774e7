"""What the type hints of a command say: the schemas of its arguments and of its result, and how arguments are converted."""

from __future__ import annotations

import inspect
import re
from typing import Any, Callable, Dict, Final, FrozenSet, List, NamedTuple, Optional, Sequence, get_args, get_origin

from ._args import ArgsRefused, refused
from ._docstring import descriptions, doc_of
from ._hints import Scope, is_hint, read, signature_of, special, text_of
from ._schema import Builder
from ._types import Misfit, Schema, Type, anything
from ._undescribed import MOST, placed, undescribed
from ._unions import forget, remember, union
from ._values import default_schema

_REFERENCE: Final = re.compile(r'"\$ref":"#/\$defs/(\w+)"')
_LISTS: Final = frozenset(("list", "List", "Sequence"))
_STREAMS: Final = frozenset(("Iterator", "Iterable", "Generator", "AsyncIterator", "AsyncIterable", "AsyncGenerator"))

ConvertArgs = Callable[[Dict[str, Any]], None]
"""Converts the arguments of a call where they are; raises ArgsRefused if they do not fit."""


class Worked(NamedTuple):
    """What has been worked out of the hints of a command; a schema is None if nothing is known."""

    args_schema: Optional[Schema]
    result_schema: Optional[Schema]
    convert: Optional[ConvertArgs]
    undescribed: Sequence[Dict[str, str]] = ()


def work_out(function: Callable[..., object], name: str, streams: bool, batch: bool) -> Worked:
    """Work out the hints of a command. Never raises.

    Args:
        function: The function.
        name: Name of the command, for messages.
        streams: Whether it yields items: the result is one of them.
        batch: Whether it takes the arguments of several calls, which then are what their callers please.
    """
    try:
        parameters, returns, scope = signature_of(function)
    except Exception:
        return Worked(None, None, None)
    unknown: List[Dict[str, str]] = []
    if batch:
        return Worked({"type": "object"}, _result(returns, scope, _LISTS, unknown), None, unknown)
    arguments, told = Builder(out=False), descriptions(doc_of(function))
    types: Dict[str, Type] = {}
    rest: Optional[Type] = None
    properties: Dict[str, Schema] = {}
    required: List[str] = []
    for parameter, hint in parameters:
        before = len(arguments.undescribed)
        type = arguments.build(hint, scope) if is_hint(hint) else anything()
        unknown += placed(arguments.undescribed[before:], parameter.name)
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = type
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            if parameter.default is None and is_hint(hint):
                type = _optional(type, arguments, scope)
            types[parameter.name] = type
            properties[parameter.name] = _property(type, parameter, told)
            if parameter.default is parameter.empty:
                required.append(parameter.name)
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False if rest is None else rest.schema or True
    result = _result(returns, scope, _STREAMS if streams else None, unknown)
    return Worked(_with_defs(schema, arguments), result, _converter(name, types, required, rest), unknown[:MOST])


def _result(hint: object, scope: Scope, forms: Optional[FrozenSet[str]], unknown: List[Dict[str, str]]) -> Optional[Schema]:
    """Build the schema of a result, or of one item if its hint is to be one of these forms; add to unknown what it cannot tell."""
    if not is_hint(hint):
        return None
    item = hint if forms is None else _argument_of(hint, scope, forms)
    if not is_hint(item):
        unknown.append(undescribed(hint, "it does not say of what it is a list or an iterator"))
        return None
    results = Builder(out=True)
    schema = _with_defs(results.build(item, scope).schema, results)
    unknown += placed(results.undescribed, None)
    return schema


def _property(type: Type, parameter: inspect.Parameter, told: Dict[str, str]) -> Schema:
    schema = dict(type.schema)
    if parameter.default is not parameter.empty:
        schema.update(default_schema(parameter.default, type))
    if parameter.name in told:
        schema["description"] = told[parameter.name]
    return schema


def _optional(type: Type, builder: Builder, scope: Scope) -> Type:
    """Let what is None unless it is given be null, whether the hint says so or not."""
    null = builder.build(None, scope)
    known = type.schema.get("anyOf", [type.schema])
    return type if type.convert is None or null.schema in known else union([type, null])


def _argument_of(hint: object, scope: Scope, forms: FrozenSet[str]) -> object:
    """Return what an Iterator or the like is one of; no hint if this is none of these forms, and itself if it cannot be read."""
    try:
        found = read(hint, scope) if text_of(hint) is not None else hint
    except Exception:
        return hint
    while special(get_origin(found)) == "Annotated":
        found = get_args(found)[0]
    args = get_args(found)
    known = getattr(get_origin(found), "__name__", "") in forms
    return args[0] if known and args else inspect.Parameter.empty


def _with_defs(schema: Schema, builder: Builder) -> Optional[Schema]:
    """Return a schema with what it refers to, or None if a library has made one that is no JSON."""
    from ._encode import encode_fields

    defs: Dict[str, Schema] = {}
    todo = [schema]
    try:
        for one in todo:
            for name in _REFERENCE.findall(encode_fields(one).decode()):
                if name in builder.defs and name not in defs:
                    defs[name] = builder.defs[name]
                    todo.append(defs[name])
    except Exception:
        return None
    return {**schema, "$defs": defs} if defs else schema


def _converter(command: str, types: Dict[str, Type], required: Sequence[str], rest: Optional[Type]) -> Optional[ConvertArgs]:
    """Make what converts arguments of these types, by name; rest is the type of those of other names."""
    converts = {name: type.convert for name, type in types.items()}
    other = None if rest is None else rest.convert
    if other is None and not any(converts.values()):
        return None
    exact_of = {name: type.exact for name, type in types.items()}.get

    def convert(args: Dict[str, Any]) -> None:
        wrong: Optional[Misfit] = None
        remember()
        try:
            for name, value in args.items():
                one = converts.get(name, other)
                if one is None or value.__class__ is exact_of(name):
                    continue
                try:
                    args[name] = one(value)
                except Misfit as misfit:
                    wrong = wrong or Misfit()
                    if wrong.add(name, misfit):
                        break
        except RecursionError:
            wrong = Misfit()
            wrong.add(name, Misfit("is nested deeper than Python can follow"))
        finally:
            forget()
        if wrong is not None:
            raise ArgsRefused(command, refused(wrong)) from None

    checked = {name: type.exact for name, type in types.items() if type.convert is not None}
    return convert if other is not None or None in checked.values() else _unless_exact(checked, required, convert)


def _unless_exact(classes: Dict[str, Any], required: Sequence[str], convert: ConvertArgs) -> ConvertArgs:
    """Put a look in front of a conversion that costs next to nothing: whether all arguments are as they are to be.

    It is compiled for the command, as `def quick(args): if args["name"].__class__ is str: return; convert(args)`.
    """
    names: Dict[str, Any] = {"convert": convert}
    tests: List[str] = []
    for number, (name, cls) in enumerate(classes.items()):
        names[f"class{number}"], names[f"sample{number}"] = cls, cls()
        given = f"args[{name!r}]" if name in required else f"args.get({name!r}, sample{number})"
        tests.append(f"{given}.__class__ is class{number}")
    exec(f"def quick(args):\n if {' and '.join(tests)}: return\n convert(args)", names)
    quick: ConvertArgs = names["quick"]
    return quick
