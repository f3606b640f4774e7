"""Type hints: reading those that are text, and taking off what is around them."""

from __future__ import annotations

import inspect
import sys
import typing
from functools import partial
from types import CodeType
from typing import Any, Callable, Dict, Final, ForwardRef, List, Mapping, NamedTuple, Optional, Tuple

from ._variables import variables_of

_TYPING: Final = ("typing", "typing_extensions")
_ABSENT: Final = inspect.Parameter.empty


class Scope(NamedTuple):
    """Where the names in a hint are looked up: names first, then more. variables: what stands for type variables."""

    names: Mapping[str, object]
    more: Dict[str, Any]
    variables: Mapping[object, object]


class Hinted(NamedTuple):
    """A parameter with its hint: inspect's, which holds the default, and what it is annotated with."""

    parameter: inspect.Parameter
    hint: object


def signature_of(function: Callable[..., object]) -> Tuple[List[Hinted], object, Scope]:
    """Return the parameters of a function with their hints, the hint of its result, and where to look up their names.

    A hint that is not there is inspect.Parameter.empty.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        signature = inspect.signature(function, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(function)
    parameters = [Hinted(p, p.annotation) for p in signature.parameters.values()]
    return parameters, signature.return_annotation, _scope_of(function)


def class_scope(cls: type, variables: Mapping[object, object]) -> Scope:
    """Return where the names in the body of a class are looked up."""
    module = sys.modules.get(cls.__module__)
    parameters = {p.__name__: p for p in getattr(cls, "__type_params__", ())}
    return Scope(vars(module) if module else {}, {**vars(cls), cls.__name__: cls, **parameters}, variables)


def class_hints(cls: type, variables: Mapping[object, object]) -> Dict[str, Tuple[object, Scope]]:
    """Return the hints in the body of a class and of those above it, each with where its names are looked up.

    Args:
        cls: The class.
        variables: What stands for its own type variables.
    """
    hints: Dict[str, Tuple[object, Scope]] = {}
    bound = variables_of(cls, variables)
    for base in reversed(cls.__mro__):
        scope = class_scope(base, bound.get(base, {}))
        for name, hint in _annotations(base).items():
            hints[name] = (hint, scope)
    return hints


class _Itself:
    """What is equal to nothing but that very object."""

    __slots__ = ("_object",)

    def __init__(self, object: object) -> None:
        self._object = object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self._object is other._object

    def __hash__(self) -> int:
        return id(self._object)


def key_of(hint: object) -> object:
    """Return what a hint is known by in a dict: one without a hash, such as `Annotated[int, {"unit": "m"}]`, is no other's equal."""
    try:
        hash(hint)
    except Exception:
        return _Itself(hint)
    return hint


def _annotations(cls: type) -> Mapping[str, object]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(cls, format=Format.FORWARDREF)
    own: object = vars(cls).get("__annotations__")
    return own if isinstance(own, dict) else {}


def text_of(hint: object) -> Optional[str]:
    """Return the text of a hint that is yet to be read, or None."""
    if isinstance(hint, ForwardRef):
        return hint.__forward_arg__
    return hint if isinstance(hint, str) else None


def read(hint: object, scope: Scope) -> object:
    """Evaluate a hint that is text.

    Raises:
        Exception: Whatever that raises.
    """
    text = text_of(hint) or ""
    module = sys.modules.get(getattr(hint, "__forward_module__", None) or "")
    names = vars(module) if module is not None else scope.names
    try:
        return eval(text, scope.more, names)
    except TypeError:
        if sys.version_info >= (3, 10):
            raise
        return eval(_without_bars(text), {**scope.more, "typing": typing}, names)


def _without_bars(text: str) -> CodeType:
    """Write `X | Y` as a Union, for interpreters that know it only so."""
    import ast

    class Unions(ast.NodeTransformer):
        def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
            self.generic_visit(node)
            if not isinstance(node.op, ast.BitOr):
                return node
            union = ast.Attribute(ast.Name("typing", ast.Load()), "Union", ast.Load())
            return ast.Subscript(union, ast.Tuple([node.left, node.right], ast.Load()), ast.Load())

    return compile(ast.fix_missing_locations(Unions().visit(ast.parse(text, mode="eval"))), "<hint>", "eval")


def special(hint: object) -> str:
    """Return the name of a form of typing or typing_extensions, such as Literal; empty for all else."""
    if getattr(hint, "__module__", "") not in _TYPING:
        return ""
    name = getattr(hint, "_name", None) or getattr(hint, "__name__", None)
    return name if isinstance(name, str) else ""


def is_hint(hint: object) -> bool:
    """Tell whether there is a hint."""
    return hint is not _ABSENT


def _scope_of(function: Any) -> Scope:
    inner = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = inspect.unwrap(inner.func)
    inner = getattr(inner, "__func__", inner)
    if not hasattr(inner, "__globals__"):
        inner = getattr(type(inner).__call__, "__func__", type(inner).__call__)
    code: Optional[CodeType] = getattr(inner, "__code__", None)
    more: Dict[str, Any] = {}
    for name, cell in zip(code.co_freevars if code else (), getattr(inner, "__closure__", None) or ()):
        try:
            more[name] = cell.cell_contents
        except ValueError:  # it is not set yet
            pass
    more.update({p.__name__: p for p in getattr(inner, "__type_params__", ())})
    return Scope(getattr(inner, "__globals__", {}), more, {})
