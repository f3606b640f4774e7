"""Hints of pydantic, for tests where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Dict, List, Literal, Optional, Union

import pydantic
from annotated_types import Ge, Interval, Len
from pydantic import UUID4, AfterValidator, BaseModel, Field, HttpUrl, PositiveInt, RootModel, field_serializer
from pydantic.dataclasses import dataclass as checked

from tests.types_table import HERE, INTEGER, NULL, STRING, Back, Case, Point, array, ref


class Address(BaseModel):
    street: str
    number: int = Field(ge=1)


class Person(BaseModel):
    """Somebody."""

    name: str = Field(alias="fullName", min_length=1)
    born: Optional[datetime] = None
    homes: List[Address] = []
    friend: Optional[Person] = None


class Strings(RootModel[List[str]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Owner(BaseModel):
    pet: Union[Cat, Dog] = Field(discriminator="kind")
    more: Union[int, Address, List[Address]] = 0
    by_size: Dict[int, Address] = {}


@checked
class Checked:
    value: Annotated[int, Field(gt=0)]


@checked
class Renamed:
    day: date = Field(alias="onDay")

    @field_serializer("day")
    def write(self, day: date) -> str:
        return f"{day:%d.%m.%Y}"


@dataclass
class Holder:
    address: Address
    point: Point


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("it is odd")
    return value


def _short(value: str) -> str:
    if len(value) > 2:
        raise ValueError("it is long")
    return value


PERSON: Any = {"fullName": "Ada", "born": "2026-01-31T12:00:00Z", "homes": [{"street": "x", "number": 1}], "friend": None}

CASES: List[Case] = [
    Case(Address, ref("Address"), [{"street": "x", "number": 2}, Back({"street": "x", "number": 2.0}, {"street": "x", "number": 2})], Address, [({"street": 1, "number": 0}, ["/street", "/number"]), ({"street": "x", "number": "2"}, ["/number"]), ({}, ["/street", "/number"]), ([], HERE)]),
    Case(Person, ref("Person"), [PERSON, Back({"fullName": "Ada"}, {"fullName": "Ada", "born": None, "homes": [], "friend": None})], Person, [({"fullName": ""}, ["/fullName"]), ({"fullName": "A", "born": "x", "homes": [{"street": "x", "number": 1}, {"street": "y"}]}, ["/born", "/homes/1/number"]), ({"fullName": "A", "friend": {"fullName": 1}}, ["/friend/fullName"])]),
    Case(List[Address], array(ref("Address")), [[{"street": "x", "number": 1}]], list, [([{"street": "x"}], ["/0/number"])]),
    Case(Optional[Address], {"anyOf": [ref("Address"), NULL]}, [None, {"street": "x", "number": 1}], object, [(1, HERE)]),
    Case(Strings, ref("Strings"), [["a"]], Strings, [([1], ["/0"])]),
    Case(Annotated[Union[Cat, Dog], Field(discriminator="kind")], {"anyOf": [ref("Cat"), ref("Dog")]}, [{"kind": "dog", "name": "x"}], Dog, [({"kind": "cow"}, HERE)]),
    Case(Owner, ref("Owner"), [Back({"pet": {"kind": "cat", "lives": 9}}, {"pet": {"kind": "cat", "lives": 9}, "more": 0, "by_size": {}})], Owner, [({"pet": {"kind": "dog"}, "more": {"street": "x"}}, ["/pet/name", "/more", "/more/number", "/more"]), ({"pet": {"kind": "cat", "lives": 9}, "by_size": {"x": {"street": "x", "number": 1}}}, ["/by_size/x"])]),
    Case(Dict[str, Checked], {"type": "object", "additionalProperties": ref("Checked")}, [{"a": {"value": 1}}], dict, [({"a": {"value": 0}}, ["/a/value"])]),
    Case(Renamed, ref("Renamed"), [Back({"onDay": "2026-01-31"}, {"onDay": "31.01.2026"})], Renamed, [({"day": "2026-01-31"}, ["/onDay"])]),
    Case(Holder, ref("Holder"), [{"address": {"street": "x", "number": 1}, "point": {"x": 1, "y": 2}}], Holder, [({"address": {"street": "x", "number": 0}, "point": {}}, ["/address/number", "/point/x"])]),
    Case(Annotated[int, Field(ge=1, description="how many")], {**INTEGER, "minimum": 1, "description": "how many"}, [1], int, [(0, HERE), ("1", HERE)]),
    Case(PositiveInt, {**INTEGER, "exclusiveMinimum": 0}, [1], int, [(0, HERE)]),
    Case(Annotated[int, Ge(2)], {**INTEGER, "minimum": 2}, [2], int, [(1, HERE)]),
    Case(Annotated[int, Interval(gt=1, le=3)], {**INTEGER, "exclusiveMinimum": 1, "maximum": 3}, [3], int, [(1, HERE), (4, HERE)]),
    Case(Annotated[str, Len(1, 2)], {**STRING, "minLength": 1, "maxLength": 2}, ["a"], str, [("", HERE), ("abc", HERE)]),
    Case(Annotated[str, Field(pattern="^a")], {**STRING, "pattern": "^a"}, ["ab"], str, [("b", HERE)]),
    Case(Dict[Annotated[str, AfterValidator(_short)], int], {"type": "object", "propertyNames": STRING, "additionalProperties": INTEGER}, [{"a": 1}], dict, [({"abc": 1}, ["/abc"])]),
    Case(Annotated[int, AfterValidator(_even)], INTEGER, [2], int, [(1, HERE), ("2", HERE)]),
]

URL_CASE = Case(HttpUrl, ref("HttpUrl"), ["https://example.org/"], pydantic.HttpUrl, [("x", HERE)])
