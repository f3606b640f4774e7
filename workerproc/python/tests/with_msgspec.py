"""Hints of msgspec, for tests where it is installed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Callable, Dict, List, Optional

import msgspec

from tests.types_table import HERE, INTEGER, NULL, STRING, Back, Case, array, ref


class Item(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    count: int = 1


class Basket(msgspec.Struct, rename="camel"):
    """What somebody buys."""

    made_at: datetime
    items: List[Item] = []
    notes: Dict[str, bytes] = {}
    inside: Optional[Basket] = None


class Sized(msgspec.Struct):
    by_size: Dict[int, str] = {}


class Odd(msgspec.Struct):
    size: int
    more: Callable[[], None] = print


CASES: List[Case] = [
    Case(Item, ref("Item"), [{"name": "x", "count": 2}, Back({"name": "x"}, {"name": "x", "count": 1})], Item, [({"name": 1}, ["/name"]), ({"name": ""}, ["/name"]), ({"name": "x", "count": "2"}, ["/count"]), ({}, HERE), ([], HERE)]),
    Case(Item, ref("Item"), [Back({"name": "x", "count": 2.0}, {"name": "x", "count": 2})], Item, [({"name": "x", "count": 2.5}, ["/count"]), ({"name": 1, "count": 2.0}, ["/name"])]),
    Case(Sized, ref("Sized"), [{"by_size": {"1": "x"}}], Sized, [({"by_size": {"x": "x"}}, ["/by_size"])]),
    Case(Basket, ref("Basket"), [{"madeAt": "2026-01-31T12:00:00Z", "items": [{"name": "x", "count": 1}], "notes": {"a": "eA=="}, "inside": None}], Basket, [({"madeAt": "x"}, ["/madeAt"]), ({"madeAt": "2026-01-31T12:00:00Z", "items": [{"name": "x"}, {"name": None}]}, ["/items/1/name"]), ({"madeAt": "2026-01-31T12:00:00Z", "notes": {"a": 1}}, ["/notes"])]),
    Case(List[Item], array(ref("Item")), [[{"name": "x", "count": 1}]], list, [([{"name": "x"}, {"name": 2}], ["/1/name"])]),
    Case(Optional[Item], {"anyOf": [ref("Item"), NULL]}, [None], object, [("x", HERE)]),
    Case(Annotated[int, msgspec.Meta(ge=1, description="how many")], {**INTEGER, "minimum": 1, "description": "how many"}, [1], int, [(0, HERE)]),
    Case(Annotated[str, msgspec.Meta(pattern="^a", max_length=2)], {**STRING, "pattern": "^a", "maxLength": 2}, ["a"], str, [("b", HERE), ("abc", HERE)]),
]
