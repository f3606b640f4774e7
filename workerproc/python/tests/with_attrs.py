"""Hints of attrs, for tests where it is installed."""

from __future__ import annotations

from datetime import date
from typing import Any, Generic, List, Optional, TypeVar

import attr
import attrs

from tests.types_table import HERE, Back, Case, array, ref

T = TypeVar("T")


def _above_zero(_: object, __: object, value: int) -> None:
    if value <= 0:
        raise ValueError("it is not above 0")


@attrs.define
class Crate:
    """What goes on a shelf."""

    name: str
    size: int = attrs.field(default=1, validator=_above_zero)
    packed: Optional[date] = None
    inside: List[Crate] = attrs.field(factory=list)
    _secret: str = "x"
    label: str = attrs.field(init=False, default="none")
    weight: float = attrs.field(default=0.0, converter=float)


@attrs.frozen(kw_only=True)
class Holder(Generic[T]):
    content: T


@attr.s
class Old:
    count = attr.ib(type=int)
    rest: Any = attr.ib(default=None)


FULL = {"name": "a", "size": 2, "packed": "2026-01-31", "inside": [], "secret": "y", "label": "none", "weight": 1.5}
SHORT = {"name": "a", "size": 1, "packed": None, "inside": [], "secret": "x", "label": "none", "weight": 2.0}

CASES: List[Case] = [
    Case(Crate, ref("Crate"), [Back({k: v for k, v in FULL.items() if k != "label"}, FULL), Back({"name": "a", "weight": "2"}, SHORT)], Crate, [({}, ["/name"]), ({"name": "a", "size": 0}, HERE), ({"name": "a", "weight": "x"}, HERE), ({"name": "a", "label": "x", "_secret": "x"}, ["/label", "/_secret"]), ({"name": "a", "inside": [{"name": 1}]}, ["/inside/0/name"]), ([], HERE)]),
    Case(List[Holder[int]], array(ref("Holder_int")), [[{"content": 1}]], list, [([{"content": "x"}], ["/0/content"])]),
    Case(Old, ref("Old"), [{"count": 1, "rest": [1]}, Back({"count": 1.0}, {"count": 1, "rest": None})], Old, [({"count": "x"}, ["/count"])]),
]
