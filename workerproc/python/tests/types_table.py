"""Type hints, the schemas that they are to have, values that fit and values that do not."""

from __future__ import annotations

import collections
import enum
import sys
from collections import deque
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import (
    AbstractSet,
    Annotated,
    Any,
    Collection,
    Counter,
    Deque,
    Dict,
    Final,
    FrozenSet,
    Generic,
    Iterable,
    List,
    Literal,
    Mapping,
    NamedTuple,
    NewType,
    Optional,
    OrderedDict,
    Sequence,
    Set,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

from charmer import Bounds

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
OneOf = TypeVar("OneOf", int, str)
UserId = NewType("UserId", int)
Json = Union[None, bool, float, str, List["Json"], Dict[str, "Json"]]


class Colour(enum.Enum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 3


class Word(str, enum.Enum):
    YES = "yes"
    NO = "no"


class Mixed(enum.Enum):
    ONE = 1
    TRUE = True if False else "true"
    PAIR = (1, 2)
    NONE = None


class Nothing(enum.Enum):
    pass


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass
class Node:
    """A tree."""

    name: str
    children: List[Node] = field(default_factory=list)
    parent: Optional[Node] = None


@dataclass(frozen=True)
class Order:
    id: UUID
    placed: datetime
    lines: Tuple[Line, ...]
    total: Decimal = field(init=False, default=Decimal(0))


@dataclass(frozen=True)
class Line:
    product: str
    count: Annotated[int, Bounds(ge=1, le=99)] = 1


@dataclass
class Even:
    value: int
    start: InitVar[int] = 0

    def __post_init__(self, start: int) -> None:
        if self.value % 2:
            raise ValueError("it is odd")


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Shelf(Generic[T]):
    first: Box[T]
    more: Optional[Box[List[T]]] = None


@dataclass
class Ints(Box[int]):
    name: str = ""


@dataclass
class Lists(Box[List[T]], Generic[T]):
    pass


@dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclass
class Dog:
    kind: Literal["dog"]
    name: str


class Place(NamedTuple):
    lat: float
    lon: float
    when: Optional[date] = None


class Movie(TypedDict):
    title: str
    year: int


class Partial(TypedDict, total=False):
    title: str


Plain = collections.namedtuple("Plain", "a b")


class Case(NamedTuple):
    """A hint.

    schema: What it is to have, without what stands in `$defs`.
    values: JSON that fits and comes back the same; or pairs of JSON and what comes back.
    kind: The class of these values in Python.
    wrong: JSON that does not fit, and the pointers to what is wrong in it.
    out: What it is to have for a result, if that is another.
    """

    hint: Any
    schema: Dict[str, Any]
    values: List[Any]
    kind: Any
    wrong: List[Tuple[Any, List[str]]]
    out: Optional[Dict[str, Any]] = None


class Back(NamedTuple):
    """A value that comes back as another one."""

    sent: Any
    back: Any


STRING: Final = {"type": "string"}
INTEGER: Final = {"type": "integer"}
NUMBER: Final = {"type": "number"}
NULL: Final = {"type": "null"}
HERE: Final = [""]
DATE_TIME: Final = {"type": "string", "format": "date-time"}
DECIMAL: Final = {"type": "string", "pattern": r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"}
ID: Final = "123e4567-e89b-12d3-a456-426614174000"


def ref(name: str) -> Dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def array(items: Dict[str, Any], **more: Any) -> Dict[str, Any]:
    return {"type": "array", "items": items, **more}


def pair(*items: Dict[str, Any]) -> Dict[str, Any]:
    return {"type": "array", "minItems": len(items), "maxItems": len(items), "prefixItems": list(items), "items": False}


PLAIN_CASES: Final[List[Case]] = [
    Case(str, STRING, ["", "ß"], str, [(1, HERE), (None, HERE), (["a"], HERE)]),
    Case(int, INTEGER, [0, -5, 10**30, Back(1.0, 1)], int, [("1", HERE), (True, HERE), (1.5, HERE), (None, HERE)]),
    Case(float, NUMBER, [0.5, Back(3, 3.0)], float, [("1", HERE), (False, HERE), ([], HERE), (10**400, HERE)]),
    Case(bool, {"type": "boolean"}, [True, False], bool, [(1, HERE), ("true", HERE), (None, HERE)]),
    Case(None, NULL, [None], type(None), [(0, HERE), ("", HERE)]),
    Case(Any, {}, [None, 1, "x", [{}]], object, []),
    Case(object, {}, [None, 1, "x", [{}]], object, []),
    Case(complex, {}, [1, "x"], object, []),
    Case(bytes, {"type": "string", "contentEncoding": "base64"}, ["", "eA==", "/+8="], bytes, [("x", HERE), ("eA", HERE), ("e A==", HERE), (1, HERE), ("ß", HERE)]),
    Case(bytearray, {"type": "string", "contentEncoding": "base64"}, ["eA=="], bytearray, [("_-8=", HERE)]),
    Case(
        datetime,
        DATE_TIME,
        ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.250000+01:00", Back("2026-01-31t12:00:00.1234567-00:00", "2026-01-31T12:00:00.123456Z")],
        datetime,
        [("2026-01-31T12:00:00", HERE), ("2026-01-31 12:00:00Z", HERE), ("2026-02-30T12:00:00Z", HERE), ("2026-01-31", HERE), (0, HERE)],
    ),
    Case(date, {"type": "string", "format": "date"}, ["2024-02-29"], date, [("2023-02-29", HERE), ("20240229", HERE), ("2024-02-29T00:00:00Z", HERE), (1, HERE)]),
    Case(time, {"type": "string", "format": "time"}, ["12:30:00", "12:30:00.500000", "12:30:00Z", "12:30:00+02:00"], time, [("25:00:00", HERE), ("12:30", HERE), (12, HERE)]),
    Case(
        timedelta,
        {"type": "string", "format": "duration"},
        ["PT0S", "P1DT2H3M4.5S", "-PT1S", "PT36H" and "P1DT12H", Back("PT90M", "PT1H30M"), Back("P2W", "P14D"), "PT0.000001S"],
        timedelta,
        [("P", HERE), ("PT", HERE), ("P1Y", HERE), ("P1DT", HERE), ("1s", HERE), (3, HERE), ("P9999999999D", HERE)],
    ),
    Case(UUID, {"type": "string", "format": "uuid"}, [ID, Back(ID.upper(), ID)], UUID, [("{" + ID + "}", HERE), ("x", HERE), (1, HERE)]),
    Case(
        Decimal,
        {"anyOf": [DECIMAL, NUMBER]},
        ["1.10", "-3", "1E+3", Back(2, "2"), Back(1.1, "1.1")],
        Decimal,
        [("NaN", HERE), ("1,5", HERE), ("", HERE), (True, HERE), ("1\n", HERE), ("1e" + "9" * 30, HERE)],
        DECIMAL,
    ),
    Case(Path, STRING, ["/tmp/x", "a/b"], Path, [(1, HERE), ("a\0b", HERE)]),
    Case(PurePosixPath, STRING, ["/tmp/x"], PurePosixPath, [(None, HERE)]),
    Case(UserId, INTEGER, [7], int, [("7", HERE)]),
    Case(T, {}, ["x", 1], object, []),
    Case(Bound, INTEGER, [1], int, [("x", HERE)]),
    Case(OneOf, {"anyOf": [INTEGER, STRING]}, [1, "x"], (int, str), [(None, HERE)]),
    Case(Literal["a, b", "c"], {"type": "string", "enum": ["a, b", "c"]}, ["a, b"], str, [("a", HERE)]),
    Case(Literal["a"], {"type": "string", "const": "a"}, ["a"], str, [("b", HERE), (1, HERE)]),
    Case(Literal["a", 1, None], {"enum": ["a", 1, None]}, ["a", 1, None, Back(1.0, 1)], object, [(True, HERE), ("b", HERE), ([], HERE)]),
    Case(Literal[True, Colour.RED, b"x"], {"enum": [True, "red", "eA=="]}, [True, "red", "eA=="], object, [(1, HERE), ("RED", HERE)]),
    Case(Colour, ref("Colour"), ["red", "blue"], Colour, [("RED", HERE), (None, HERE), ({}, HERE)]),
    Case(Level, ref("Level"), [1, 3, Back(3.0, 3)], Level, [(2, HERE), ("1", HERE), (True, HERE)]),
    Case(Word, ref("Word"), ["yes"], Word, [("YES", HERE)]),
    Case(Mixed, ref("Mixed"), [1, "true", [1, 2], None], Mixed, [(2, HERE), ([1], HERE), (True, HERE)]),
    Case(Nothing, ref("Nothing"), [1], object, []),
    Case(Right, ref("Right"), [0, 1, 3], Right, [(4, HERE), (-1, HERE), ("1", HERE), (True, HERE)]),
]

CONTAINER_CASES: Final[List[Case]] = [
    Case(list, {"type": "array"}, [[], [1, "x"]], list, [({}, HERE), ("ab", HERE), (None, HERE)]),
    Case(List[int], array(INTEGER), [[], [1, 2]], list, [(["1", 2, None], ["/0", "/2"]), (1, HERE)]),
    Case(List[float], array(NUMBER), [[0.5], Back([1, 2.5], [1.0, 2.5])], list, [([0.5, "x"], ["/1"])]),
    Case(List[List[str]], array(array(STRING)), [[["a"], []]], list, [([["a"], ["b", 1]], ["/1/1"])]),
    Case(Sequence[int], array(INTEGER), [[1]], list, [("1", HERE)]),
    Case(Iterable[int], array(INTEGER), [[1]], list, [({}, HERE)]),
    Case(Collection[date], array({"type": "string", "format": "date"}), [["2026-01-31"]], list, [(["x"], ["/0"])]),
    Case(Deque[int], array(INTEGER), [[1, 2]], deque, [([None], ["/0"])]),
    Case(set, {"type": "array", "uniqueItems": True}, [[1], Back([3, 1], [1, 3])], set, [([1, 1], ["/1"]), ([[]], HERE)]),
    Case(Set[Colour], array(ref("Colour"), uniqueItems=True), [["red"]], set, [(["red", "red"], ["/1"]), (["pink"], ["/0"])]),
    Case(FrozenSet[int], array(INTEGER, uniqueItems=True), [[1, 2]], frozenset, [([1, 1.0], ["/1"]), ({}, HERE)]),
    Case(AbstractSet[str], array(STRING, uniqueItems=True), [["a"]], frozenset, [([1], ["/0"])]),
    Case(tuple, {"type": "array"}, [[1, "x"]], tuple, [("x", HERE)]),
    Case(Tuple[()], {"type": "array", "minItems": 0, "maxItems": 0}, [[]], tuple, [([1], HERE)]),
    Case(Tuple[int, str], pair(INTEGER, STRING), [[1, "x"]], tuple, [([1], HERE), ([1, "x", 2], HERE), (["x", 1], ["/0", "/1"])]),
    Case(Tuple[datetime, ...], array(DATE_TIME), [["2026-01-31T12:00:00Z"], []], tuple, [(["x"], ["/0"])]),
    Case(dict, {"type": "object"}, [{}, {"a": 1}], dict, [([], HERE), (None, HERE)]),
    Case(Dict[str, Any], {"type": "object"}, [{"a": [1]}], dict, [("{}", HERE)]),
    Case(Dict[str, int], {"type": "object", "additionalProperties": INTEGER}, [{"a/b": 1}], dict, [({"a/b": "1"}, ["/a~1b"])]),
    Case(Mapping[str, List[bytes]], {"type": "object", "additionalProperties": array({"type": "string", "contentEncoding": "base64"})}, [{"a": ["eA=="]}], dict, [({"a": ["x"]}, ["/a/0"])]),
    Case(Dict[int, str], {"type": "object", "propertyNames": {"pattern": r"^(0|-?[1-9][0-9]*)$"}, "additionalProperties": STRING}, [{"1": "x", "-5": "y"}], dict, [({"x": "x"}, ["/x"]), ({"01": "x"}, ["/01"]), ({"9" * 5000: "x"}, HERE)]),
    Case(Dict[float, int], {"type": "object", "propertyNames": {"pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"}, "additionalProperties": INTEGER}, [{"1.5": 1}], dict, [({"x": 1}, ["/x"]), ({"1e999": 1}, ["/1e999"])]),
    Case(Dict[Level, int], {"type": "object", "additionalProperties": INTEGER}, [{"1": 5}], dict, [({"2": 1, "x": 1, "1": "x"}, ["/2", "/x", "/1"])]),
    Case(Dict[bool, int], {"type": "object", "propertyNames": {"enum": ["true", "false"]}, "additionalProperties": INTEGER}, [{"true": 1}], dict, [({"1": 1}, ["/1"])]),
    Case(Dict[Colour, int], {"type": "object", "propertyNames": ref("Colour"), "additionalProperties": INTEGER}, [{"red": 1}], dict, [({"pink": 1, "red": "1"}, ["/pink", "/red"])]),
    Case(Dict[UUID, date], {"type": "object", "propertyNames": {"type": "string", "format": "uuid"}, "additionalProperties": {"type": "string", "format": "date"}}, [{ID: "2026-01-31"}], dict, [({"x": "2026-01-31"}, ["/x"])]),
    Case(OrderedDict[str, int], {"type": "object", "additionalProperties": INTEGER}, [{"b": 1, "a": 2}], collections.OrderedDict, [({"b": None}, ["/b"])]),
    Case(Counter[str], {"type": "object", "additionalProperties": INTEGER}, [{"b": 1}], collections.Counter, [({"b": "1"}, ["/b"])]),
    Case(Optional[int], {"anyOf": [INTEGER, NULL]}, [1, None], (int, type(None)), [("1", HERE)]),
    Case(Union[int, str], {"anyOf": [INTEGER, STRING]}, [1, "1"], (int, str), [(None, HERE), (1.5, HERE)]),
    Case(Union[float, int], {"anyOf": [NUMBER, INTEGER]}, [1, 1.5], (int, float), [("1", HERE)]),
    Case(Union[date, str], {"anyOf": [{"type": "string", "format": "date"}, STRING]}, ["2026-01-31", "x"], (date, str), [(1, HERE)]),
    Case(Union[List[int], List[str]], {"anyOf": [array(INTEGER), array(STRING)]}, [[1], ["x"]], list, [([1, "x"], HERE)]),
    Case(Json, ref("Json"), [None, [{"a": [1.5, "x", None, True]}]], object, []),
    Case(Annotated[int, "a note"], INTEGER, [1], int, [("1", HERE)]),
    Case(Annotated[int, {"no": "hash"}], INTEGER, [1], int, [("1", HERE)]),
    Case(Annotated[int, Bounds(ge=1, lt=10, multiple_of=3)], {**INTEGER, "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 3}, [3, 9], int, [(0, HERE), (12, HERE), (4, HERE), ("3", HERE)]),
    Case(Annotated[float, Bounds(gt=0, le=1)], {**NUMBER, "exclusiveMinimum": 0, "maximum": 1}, [0.5, Back(1, 1.0)], float, [(0, HERE), (1.01, HERE)]),
    Case(Annotated[float, Bounds(multiple_of=0.1)], {**NUMBER, "multipleOf": 0.1}, [0.3, 0.7], float, [(0.35, HERE)]),
    Case(Annotated[float, Bounds(ge=0, lt=float("inf"))], {**NUMBER, "minimum": 0}, [0.5], float, [(-1, HERE)]),
    Case(Annotated[Decimal, Bounds(multiple_of=Decimal("0.05"))], {"anyOf": [DECIMAL, NUMBER]}, ["0.15", "1E+999999", "0E-999999"], Decimal, [("0.151", HERE), ("1E-999999", HERE), ("1" * 5000 + "e-2", HERE)], DECIMAL),
    Case(Annotated[Union[int, str], Bounds(multiple_of=3)], {"anyOf": [{**INTEGER, "multipleOf": 3}, STRING]}, [3, "x"], (int, str), [(4, HERE)]),
    Case(Annotated[timedelta, Bounds(multiple_of=timedelta(minutes=15))], {"type": "string", "format": "duration"}, ["PT30M"], timedelta, [("PT10M", HERE)]),
    Case(Annotated[str, Bounds(min_length=2, max_length=3, pattern="^[a-z]+$")], {**STRING, "minLength": 2, "maxLength": 3, "pattern": "^[a-z]+$"}, ["ab"], str, [("a", HERE), ("abcd", HERE), ("AB", HERE)]),
    Case(Annotated[List[int], Bounds(min_length=1, max_length=2)], array(INTEGER, minItems=1, maxItems=2), [[1]], list, [([], HERE), ([1, 2, 3], HERE), (["x"], ["/0"])]),
    Case(Annotated[Dict[str, int], Bounds(min_length=1)], {"type": "object", "additionalProperties": INTEGER, "minProperties": 1}, [{"a": 1}], dict, [({}, HERE)]),
    Case(Annotated[bytes, Bounds(max_length=1)], {"type": "string", "contentEncoding": "base64"}, ["eA=="], bytes, [("eHg=", HERE)]),
    Case(Annotated[Optional[int], Bounds(ge=0)], {"anyOf": [{**INTEGER, "minimum": 0}, NULL]}, [None, 0], object, [(-1, HERE)]),
]

OBJECT_CASES: Final[List[Case]] = [
    Case(Point, ref("Point"), [{"x": 1, "y": 2}, Back({"x": 1}, {"x": 1, "y": 0})], Point, [({}, ["/x"]), ({"x": "1", "z": 0}, ["/x", "/z"]), ([1, 2], HERE), (None, HERE)]),
    Case(Node, ref("Node"), [{"name": "a", "children": [{"name": "b", "children": [], "parent": None}], "parent": None}], Node, [({"name": "a", "children": [{"name": 1}]}, ["/children/0/name"])]),
    Case(Order, ref("Order"), [Back({"id": ID, "placed": "2026-01-31T12:00:00Z", "lines": [{"product": "p"}]}, {"id": ID, "placed": "2026-01-31T12:00:00Z", "lines": [{"product": "p", "count": 1}], "total": "0"})], Order, [({"id": "x", "placed": "x", "lines": [{"product": "p", "count": 100}], "total": 1}, ["/id", "/placed", "/lines/0/count", "/total"])]),
    Case(Even, ref("Even"), [Back({"value": 2, "start": 1}, {"value": 2})], Even, [({"value": 1}, HERE), ({"value": 2, "start": "x"}, ["/start"])]),
    Case(Box[int], ref("Box_int"), [{"content": 1}], Box, [({"content": "x"}, ["/content"])]),
    Case(Box[Point], ref("Box_Point"), [{"content": {"x": 1, "y": 2}}], Box, [({"content": {}}, ["/content/x"])]),
    Case(Tuple[Shelf[int], Shelf[str]], pair(ref("Shelf_int"), ref("Shelf_str")), [[{"first": {"content": 1}, "more": {"content": [2]}}, {"first": {"content": "x"}, "more": None}]], tuple, [([{"first": {"content": "x"}, "more": {"content": ["x"]}}, {"first": {"content": 1}, "more": {"content": [1]}}], ["/0/first/content", "/0/more/content/0", "/1/first/content", "/1/more/content/0"])]),
    Case(Ints, ref("Ints"), [{"content": 1, "name": "x"}], Ints, [({"content": "x"}, ["/content"])]),
    Case(Lists[int], ref("Lists_int"), [{"content": [1]}], Lists, [({"content": ["x"]}, ["/content/0"])]),
    Case(Box[List[T]], ref("Box" if sys.version_info < (3, 10) else "Box_List"), [{"content": [1, "x"]}], Box, [({"content": 1}, ["/content"])]),  # type: ignore[valid-type]
    Case(Union[Cat, Dog], {"anyOf": [ref("Cat"), ref("Dog")]}, [{"kind": "dog", "name": "x"}, {"kind": "cat", "lives": 9}], (Cat, Dog), [({"kind": "dog", "name": 1}, ["/name"]), ({"kind": "cow"}, HERE), (1, HERE)]),
    Case(Optional[Point], {"anyOf": [ref("Point"), NULL]}, [None, {"x": 1, "y": 2}], object, [({"x": None}, ["/x"]), ("x", HERE)]),
    Case(Place, ref("Place"), [[1.5, 2.5, "2026-01-31"], Back([1, 2], [1.0, 2.0, None])], Place, [([1.5], HERE), ([1.5, "x", "y"], ["/1", "/2"]), ({}, HERE)]),
    Case(Plain, ref("Plain"), [[1, "x"]], Plain, [([1], HERE)]),
    Case(Movie, ref("Movie"), [{"title": "x", "year": 1}], dict, [({"title": "x"}, ["/year"]), ({"title": 1, "year": 1, "more": 2}, ["/title", "/more"])]),
    Case(Partial, ref("Partial"), [{}, {"title": "x"}], dict, [({"titel": "x"}, ["/titel"])]),
    Case(List[Movie], array(ref("Movie")), [[{"title": "x", "year": 1}]], list, [([{"title": "x", "year": "y"}], ["/0/year"])]),
    Case(Dict[str, Tuple[Point, Colour]], {"type": "object", "additionalProperties": pair(ref("Point"), ref("Colour"))}, [{"a": [{"x": 1, "y": 2}, "red"]}], dict, [({"a": [{"x": 1}, "pink"]}, ["/a/1"])]),
]

CASES: Final = [*PLAIN_CASES, *CONTAINER_CASES, *OBJECT_CASES]

if sys.version_info >= (3, 11):
    from typing import LiteralString, NotRequired

    class Rare(TypedDict):
        count: Annotated[NotRequired[int], Bounds(ge=1)]  # type: ignore[valid-type]

    CASES.append(Case(LiteralString, STRING, ["x"], str, [(1, HERE)]))
    CASES.append(Case(Rare, ref("Rare"), [{}, {"count": 1}], dict, [({"count": 0}, ["/count"])]))
if sys.version_info >= (3, 10):
    CASES.append(Case(int | None, {"anyOf": [INTEGER, NULL]}, [1, None], object, [("x", HERE)]))
    CASES.append(Case(list[Point] | dict[str, "Point"], {"anyOf": [array(ref("Point")), {"type": "object", "additionalProperties": ref("Point")}]}, [[{"x": 1, "y": 2}], {"a": {"x": 1, "y": 2}}], object, [({"a": {}}, ["/a/x"]), ([{}], ["/0/x"])]))
