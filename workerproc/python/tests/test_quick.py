"""What orjson and msgspec take over is what json would have given. Without them these tests try json alone."""

from __future__ import annotations

import enum
import json
import random
import struct
import sys
import unittest
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from typing import Any, List

from charmer import _quick
from charmer._decode import decode
from charmer._encode import result_encoder
from charmer._stream import Refused, encode_value

_MAX = 1 << 30


class Text(str):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.Enum):
    ADA = "ada"


@dataclass
class Point:
    x: float


Pair = namedtuple("Pair", "a b")


def send(value: object) -> bytes:
    return encode_value(result_encoder(), value, _MAX, "result")


def exactly(value: object) -> bytes:
    return result_encoder()(value).encode("utf-8")


def make(source: random.Random, depth: int) -> Any:
    """Make a value of JSON."""
    kind = source.randrange(9 if depth else 7)
    if kind < 1:
        return source.choice([None, True, False])
    if kind < 3:
        return source.choice([0, -1, 1 << source.randrange(200), -(1 << source.randrange(64)), source.randrange(10**6)])
    if kind < 5:
        return source.choice([source.random(), -0.0, 5e-324, 1.7e308, source.uniform(-1e20, 1e20), 1e16, 123456789.0])
    if kind < 7:
        return "".join(source.choice('ab"\\/\n\t\0\x1f\x7fß\u2028🐍nul{}[],: 9') for _ in range(source.randrange(12)))
    items = [make(source, depth - 1) for _ in range(source.randrange(5))]
    return items if kind < 8 else {f"k{i}{make(source, 0)!s:.5}".encode("utf-8", "ignore").decode(): item for i, item in enumerate(items)}


class Quick(unittest.TestCase):
    def test_they_are_used_where_they_are_installed(self) -> None:
        self.assertEqual(_quick.encode_quickly([1]), b"[1]" if find_spec("orjson") else None)
        self.assertEqual(_quick.decode_quickly is not None, find_spec("msgspec") is not None)

    def test_what_goes_there_comes_back_as_through_json(self) -> None:
        source = random.Random(1)
        for _ in range(2000):
            value = make(source, 4)
            body = send(value)
            self.assertEqual(repr(json.loads(body)), repr(value))
            for text in (body.decode("utf-8"), json.dumps(value), json.dumps(value, indent=1)):
                self.assertEqual(repr(decode(text)), repr((value, False)))

    def test_numbers_without_a_value_are_found_beside_null(self) -> None:
        source = random.Random(2)
        shared = float("nan")
        for odd in (shared, float("inf"), -float("inf"), -shared, struct.unpack("<d", b"\1\0\0\0\0\0\xf0\x7f")[0]):
            for _ in range(200):
                values = [None, shared, make(source, 3), odd, make(source, 3)]
                source.shuffle(values)
                self.assertRaises(Refused, send, values)
                self.assertRaises(Refused, send, {"a": None, "b": (values,)})

    def test_values_with_a_meaning_of_their_own_are_encoded_as_ever(self) -> None:
        key = uuid.UUID(int=7)
        values: List[object] = [
            Text("a"),
            [Text("a")],
            {Text("a"): 1},
            Level.LOW,
            [Level.LOW, Name.ADA, key],
            {1: 2, None: 3, 2.5: 4, True: 5, Level.LOW: 6, Name.ADA: 7, key: 8},
            Point(1.5),
            [Point(1.5)],
            Pair(1, "b"),
            (1, (2,)),
            OrderedDict(b=1, a=2),
            datetime(2026, 1, 31, tzinfo=timezone.utc),
            {"b", "a"},
            b"bytes",
            2**63,
            2**64,
            -(2**63) - 1,
            10**300,
            None,
            [None],
            "null",
            {"null": "nullable"},
        ]
        for value in values:
            with self.subTest(repr(value)):
                self.assertEqual(send(value), exactly(value))

    def test_what_json_has_not_is_refused_with_the_words_of_ever(self) -> None:
        loop: List[object] = []
        loop.append(loop)
        values: List[object] = [float("nan"), [float("inf")], [None, {"a": float("nan")}], "\ud800", {"\ud800": 1}, object(), loop, {(1,): 1}]
        for value in values:
            with self.subTest(repr(value)):
                with self.assertRaises(Exception) as wanted:
                    exactly(value)
                with self.assertRaises(Refused) as refused:
                    send(value)
                self.assertEqual(refused.exception.type, type(wanted.exception).__name__)

    @unittest.skipUnless(find_spec("orjson"), "orjson is not installed")
    def test_what_orjson_alone_can_write_is_refused(self) -> None:
        import orjson

        if not hasattr(orjson, "Fragment"):
            self.skipTest("orjson is too old to have it")
        with self.assertRaises(Refused) as refused:
            send([orjson.Fragment(b"not json")])
        self.assertEqual(refused.exception.type, "TypeError")

    def test_texts_at_the_edge_are_decoded_as_ever(self) -> None:
        infinite = float("inf")
        cases = {"1e400": (infinite, True), "[-1e400]": ([-infinite], True), "-0": (0, False), '{"a":1,"a":2}': ({"a": 2}, False), " [1 ] ": ([1], False)}
        for text, wanted in cases.items():
            self.assertEqual(repr(decode(text)), repr(wanted))
        for text in ("NaN", "[Infinity]", "[1,]", "01", "'a'", "1 2", "", '"\n"', "[" * 100_000 + "]" * 100_000):
            self.assertRaises((ValueError, RecursionError), decode, text)
        limit = getattr(sys, "get_int_max_str_digits", None)
        if limit is not None:
            self.assertRaises(ValueError, decode, "9" * (limit() + 1))
            self.assertEqual(decode("9" * limit()), (10 ** limit() - 1, False))


if __name__ == "__main__":
    unittest.main()
