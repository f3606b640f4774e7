"""What a type hint stands for in JSON: a schema, and how a value that fits it becomes one of Python."""

from __future__ import annotations

from typing import Any, Callable, Dict, Final, FrozenSet, List, Optional, Tuple

Schema = Dict[str, Any]
Convert = Callable[[Any], Any]
"""Makes a value of Python out of one decoded from JSON, or raises Misfit."""

MAX_PROBLEMS: Final = 16
SUITED: Final = 2

STRING: Final = frozenset((str,))
INTEGER: Final = frozenset((int, float))
NUMBER: Final = frozenset((int, float))
ARRAY: Final = frozenset((list,))
OBJECT: Final = frozenset((dict,))

_NAMES: Final[Dict[type, str]] = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Misfit(Exception):
    """A value does not fit. problems: for each thing that is wrong its path, innermost step first, and a sentence."""

    def __init__(self, detail: str = "", *path: object) -> None:
        super().__init__(detail)
        self.problems: List[Tuple[List[object], str]] = [(list(path), detail)] if detail else []

    def add(self, step: object, inner: Misfit) -> bool:
        """Take over the problems of what lies at a step below, and tell whether these are more than will be told."""
        for path, detail in inner.problems:
            path.append(step)
            self.problems.append((path, detail))
        return len(self.problems) > MAX_PROBLEMS


class Type:
    """What a hint stands for.

    Attributes:
        schema: Its JSON Schema.
        convert: None if any value fits, as it is.
        exact: The class whose values all fit, as they are; None if there is none.
        classes: The classes of decoded JSON of which values can fit; None for all.
        suits: A quick look at how well a value of such a class may fit: SUITED, less if it has the name of this type in it
            and yet does not fit, 0 if not at all. None if there is none.
    """

    __slots__ = ("classes", "convert", "exact", "schema", "suits")

    def __init__(
        self,
        schema: Schema,
        convert: Optional[Convert] = None,
        classes: Optional[FrozenSet[type]] = None,
        exact: Optional[type] = None,
        suits: Optional[Callable[[Any], int]] = None,
    ) -> None:
        self.schema = schema
        self.convert = convert
        self.classes = classes
        self.exact = exact
        self.suits = suits


def anything() -> Type:
    """Return the type of what is passed as it is."""
    return Type({})


def name_of(value: object) -> str:
    """Name the kind of JSON that a value is."""
    return _NAMES.get(value.__class__, "another value")


def refuse(value: object, wanted: str) -> Misfit:
    """Say that a value is of the wrong kind."""
    return Misfit(f"must be {wanted}, not {name_of(value)}")
