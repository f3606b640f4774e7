"""Results as JSON, and the place of what JSON cannot carry."""

from __future__ import annotations

import enum
import gc
import json
import sys
import unittest
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Dict, List, Mapping, NamedTuple

from charmer._decode import decode
from charmer._encode import MAX_DEPTH, depth, encode_fields, encode_long_text, excess_depth, result_encoder
from charmer._explain import explain


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Place:
    at: Any


class Level(enum.IntEnum):
    LOW = 1


class Answer(int):
    def __repr__(self) -> str:
        return "forty-two"


class Encoding(unittest.TestCase):
    def test_a_long_string_is_encoded_as_json_does_or_left_to_it(self) -> None:
        long = "x" * 100_000
        for text, quick in [
            (long, True),
            (long + "ß🐍\u2028\x7f", True),
            ("ß" * 100_000, True),
            (long + '"', False),
            (long + "\\", False),
            ("\n" + long, False),
            (long + "\x1f" + long, False),
            (long + "\ud800", False),
            ("x" * 1000, False),
        ]:
            with self.subTest(text[:1] + text[-1:]):
                body = encode_long_text(text)
                self.assertEqual(body is not None, quick)
                if body is not None:
                    self.assertEqual(body.decode(), result_encoder()(text))
        self.assertIsNone(encode_long_text([long]))

    def test_what_json_can_carry_is_encoded_as_json_does(self) -> None:
        shared: List[int] = []
        values: List[object] = [
            None,
            True,
            0,
            -1.5,
            1e400 - 1e400 != 0,
            10**4000,
            "",
            'quote " backslash \\ newline \n nul \0 ß 🐍 \u2028',
            [],
            {},
            (),
            [1, [2, [3, (4,)]]],
            {"a": {"b": [None, False]}, "": 0},
            {1: 1, 2.5: 2, None: 3, True: 4, Level.LOW: 5},
            Point(1, Level.LOW),
            OrderedDict(b=1, a=Answer(42)),
            [shared, shared],
        ]
        encode = result_encoder()
        for value in values:
            wanted = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            self.assertEqual(encode(value), wanted)

    def test_an_encoder_that_has_failed_still_works(self) -> None:
        encode = result_encoder()
        good: List[Any] = [[1]]
        bad: Dict[str, object] = {"good": good, "bad": object()}
        for _ in range(3):
            with self.assertRaises(TypeError):
                encode(bad)
            self.assertEqual(encode(good), "[[1]]")

    def test_fields_with_lone_surrogates_are_escaped_and_not_refused(self) -> None:
        body = encode_fields({"message": 'a\ud800"\udfff ß\\'})
        self.assertEqual(json.loads(body), {"message": 'a\\ud800"\\udfff ß\\'})


class Depth(unittest.TestCase):
    def test_it_is_that_of_the_deepest_value(self) -> None:
        cases = {
            "1": 0,
            "[]": 1,
            "{}": 1,
            "[[],[[]],[]]": 3,
            '{"a":[{"b":1},[[2]]],"c":{}}': 4,
            r'["[[[","\\","\"[[[","\\\"[[[","[[\\",["]]"]]': 2,
            r'["[","]",[],"]]","\"","[[[[","",["","[\u005b\n"]]': 2,
            '{"[[":["{{ß{{"],"]]":[[]]}': 3,
            "[" * 30_000 + "]" * 30_000: 30_000,
        }
        for text, wanted in cases.items():
            with self.subTest(text[:40]):
                if wanted < 100:
                    json.loads(text)
                self.assertEqual(depth(text.encode()), wanted)

    def test_only_what_is_too_deep_is_measured(self) -> None:
        cases = ((10_000, "", 0), (10_001, "", 10_001), (9_999, ",[]" * 9, 0), (1, ",{}" * 20_000, 0))
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(MAX_DEPTH + 1)
        for levels, beside, wanted in cases:
            self.assertEqual(excess_depth(("[" * levels + "1" + beside + "]" * levels).encode()), wanted)

    def test_what_this_interpreter_encodes_without_more_recursion_is_not_too_deep(self) -> None:
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(MAX_DEPTH)
        value: object = 1
        text = ""
        encode = result_encoder()
        for levels in range(1, 3 * MAX_DEPTH):
            value = [value]
            if levels % 500:
                continue
            try:
                text = encode(value)
            except RecursionError:
                break
            self.assertEqual(excess_depth(text.encode()), max(levels, MAX_DEPTH) if levels > MAX_DEPTH else 0)
        self.assertTrue(text)


class Decoding(unittest.TestCase):
    TEXT = json.dumps([[i] for i in range(20_000)])

    def collections(self) -> int:
        return sum(stats["collections"] for stats in gc.get_stats())

    def test_large_texts_are_decoded_without_looking_for_garbage(self) -> None:
        gc.collect()
        before = self.collections()
        decode(self.TEXT)
        self.assertLess(self.collections() - before, 3)
        self.assertTrue(gc.isenabled())

    def test_the_garbage_collector_is_left_as_it_was(self) -> None:
        self.addCleanup(gc.enable)
        gc.disable()
        decode(self.TEXT)
        self.assertFalse(gc.isenabled())
        gc.enable()
        with self.assertRaises(json.JSONDecodeError):
            decode(self.TEXT + "]")
        self.assertTrue(gc.isenabled())


class Explaining(unittest.TestCase):
    def explained(self, value: object) -> str:
        try:
            result_encoder()(value).encode("utf-8")
        except Exception as exc:
            return explain(value, exc)
        self.fail("it was encoded")

    def test_the_place_and_the_fault_are_named(self) -> None:
        cycle: Dict[str, Any] = {"a": [1, {}]}
        cycle["a"][1]["self"] = cycle["a"]
        looped = Place(None)
        looped.at = looped
        itself: List[Any] = []
        itself.append(itself)
        digits = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 4300
        cases: Mapping[str, object] = {
            "result is nan": float("nan"),
            "result.rows[3].score is nan": {"rows": [0, 1, 2, {"score": float("nan")}]},
            "result[1] is -inf": [0, float("-inf")],
            'result["a b"][0] is a complex': {"ok": [{"x": ()}], "a b": {1j}},
            'result["1"][0].at is a complex': {1: [Place(1j)]},
            "result[1] is NaN": (1, Decimal("NaN")),
            "result.a.at refers back to result.a": {"a": looped},
            "result[0] is an object": (object(),),
            "result.x is a type": {"x": int},
            "result is a tests.test_encode.Explaining": self,
            "result.text has a lone surrogate (\\ud800 at 1)": {"text": "a\ud800"},
            "result[0] has a key with a lone surrogate (\\udc00 at 0)": [{"\udc00": 1}],
            "result.m has a key that is a tuple": {"m": {(1, 2): 3}},
            "result has a key that is nan": {float("nan"): 1},
            "result.a[1].self refers back to result.a": cycle,
            "result[0] refers back to result": itself,
            f"result.n is an int of {(10**digits).bit_length()} bits": {"n": 10**digits},
        }
        for wanted, value in cases.items():
            with self.subTest(wanted):
                self.assertEqual(self.explained(value), f"{wanted}, which JSON cannot carry")

    def test_nesting_that_is_too_deep_is_measured(self) -> None:
        deep: List[Any] = []
        for _ in range(49_999):
            deep = [deep]
        self.assertIn("result is nested 50000 levels deep", self.explained(deep))

    def test_parts_that_are_shared_are_gone_through_once(self) -> None:
        shared: List[Any] = []
        for _ in range(5_000):
            shared = [shared, shared]
        self.assertIn("result is nested 5001 levels deep", explain(shared, RecursionError()))

    def test_a_long_path_is_cut(self) -> None:
        value: Dict[str, Any] = {"leaf": 1j}
        for number in range(100):
            value = {f"level_{number}": value}
        text = self.explained(value)
        self.assertLess(len(text), 400)
        self.assertTrue(text.startswith("result.level_99.level_98"), text)
        self.assertTrue(text.endswith(".level_0.leaf is a complex, which JSON cannot carry"), text)


if __name__ == "__main__":
    unittest.main()
