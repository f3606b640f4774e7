"""What an object is by its class alone. isinstance() also asks the object's `__class__`, which is code of the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Type, TypeVar

from ._text import cut_end

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

T = TypeVar("T")

_MAX_NAME: Final = 200
_own_name: Final = vars(type)["__name__"].__get__  # past what a metaclass puts in its place


def is_a(value: object, kind: Type[T]) -> TypeGuard[T]:
    """Tell whether the class of value is kind, or below it. Never raises."""
    return issubclass(type(value), kind)


def class_name(kind: type) -> str:
    """Return the qualified name of a class, its module in front of it unless that is builtins. Never raises."""
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
        return cut_end(name if module == "builtins" else f"{module}.{name}", _MAX_NAME)
    except BaseException:
        return cut_end(_own_name(kind), _MAX_NAME)
