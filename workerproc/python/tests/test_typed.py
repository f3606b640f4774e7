"""Commands with type hints in a worker, and signatures as a whole."""

from __future__ import annotations

import inspect
import sys
import unittest
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Literal, Optional, Tuple, Union

from charmer import Bounds
from charmer._args import ArgsRefused
from charmer._commands import Options, describe, make_command
from charmer._docstring import descriptions, summary
from charmer._undescribed import undescribed
from tests.harness import APPS, Got, Worker
from tests.types_table import Point

NOON = "2026-01-31T12:00:00Z"


class InAWorker(unittest.TestCase):
    def setUp(self) -> None:
        self.worker = Worker(str(APPS / "typed.py"))
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.commands = {one["name"]: one for one in self.worker.ready().body["commands"]}

    def refused(self, got: Got, *pointers: str) -> None:
        self.assertEqual((got.kind, got.body["kind"]), ("ERROR", "invalid_args"), got)
        self.assertEqual([error["pointer"] for error in got.body["errors"]], list(pointers))

    def test_arguments_and_results_have_their_types_however_a_command_runs(self) -> None:
        for name in ("shift", "shift_async", "shift_in_thread"):
            with self.subTest(name):
                got = self.worker.call(name, event={"at": NOON}, by="PT1H")
                self.assertEqual((got.kind, got.body), ("RESULT", {"at": "2026-01-31T13:00:00Z", "tags": None}))
                got = self.worker.call(name, 2, event={"at": "noon", "tags": {"a": "x"}}, by=3600)
                self.refused(got, "/event/at", "/event/tags/a", "/by")
                self.assertEqual(got.body["message"], f"arguments do not fit {name}")
                self.refused(self.worker.call(name, 3, event={"at": NOON, "tags": {"refuse": 1}}, by="PT1H"), "/event")
                self.refused(self.worker.call(name, 4, event={"at": NOON}), "/by")

    def test_what_a_constructor_raises_beside_is_the_failure_of_the_call(self) -> None:
        for name in ("shift", "shift_async", "shift_in_thread"):
            body = self.worker.call(name, event={"at": NOON, "tags": {"fail": 1}}, by="PT1H").body
            self.assertEqual((body["kind"], body["message"]), ("exception", "in the constructor"))
            first = body["traceback"].splitlines()[1]
            self.assertTrue("typed.py" in first or "<string>" in first, body["traceback"])

    def test_items_of_streams_are_encoded_like_results(self) -> None:
        got = self.worker.call("each", events=[{"at": NOON}])
        self.assertEqual(got.body, [NOON])
        got = self.worker.call("each_async", events=[{"at": NOON}])
        self.assertEqual(got.body, [{"at": NOON, "tags": None}])
        self.refused(self.worker.call("each_async", events=[{"at": NOON}, {}]), "/events/1/at")
        self.assertEqual(self.commands["each"]["result_schema"], {"type": "string", "format": "date-time"})
        self.assertEqual(self.commands["each_async"]["result_schema"]["$ref"], "#/$defs/Event")

    def test_a_batch_takes_its_arguments_as_they_come(self) -> None:
        self.assertEqual(self.worker.call("together", seconds=90, more=[1]).body, "PT1M30S")
        self.assertEqual(self.commands["together"]["args_schema"], {"type": "object"})
        self.assertEqual(self.commands["together"]["result_schema"], {"type": "string", "format": "duration"})

    def test_every_kind_of_parameter_is_converted(self) -> None:
        got = self.worker.call("placed", a=NOON, b=3.0, c=1, x="PT1S")
        self.assertEqual(got.body, [NOON, 3, 1.0, {"x": "PT1S"}])
        self.refused(self.worker.call("placed", 2, a=1, b="x", c="y", x=1), "/a", "/b", "/c", "/x")
        schema = self.commands["placed"]["args_schema"]
        self.assertEqual((schema["required"], schema["additionalProperties"]), (["a"], {"type": "string", "format": "duration"}))

    def test_a_hint_that_cannot_be_read_costs_that_parameter_alone(self) -> None:
        schema = self.commands["unknown"]["args_schema"]
        self.assertEqual(schema["properties"], {"value": {}, "count": {"type": "integer", "default": 1}})
        self.assertEqual(self.commands["unknown"]["result_schema"], {})
        self.assertEqual(self.worker.call("unknown", value={"any": 1}).body, [{"any": 1}, 1])
        self.refused(self.worker.call("unknown", 2, value=1, count="x"), "/count")
        why = {"hint": "Missing", "why": "NameError: name 'Missing' is not defined"}
        self.assertEqual(self.commands["unknown"]["undescribed"], [{**why, "parameter": "value"}, why])
        self.assertEqual([name for name, one in self.commands.items() if "undescribed" in one], ["unknown"])

    def test_results_without_a_hint_are_encoded_by_what_they_are(self) -> None:
        got = self.worker.call("untyped", value=1)
        self.assertEqual(got.body, {"value": 1, "set": [1], "event": {"at": "2026-01-31T00:00:00", "tags": None}})
        self.assertNotIn("result_schema", self.commands["untyped"])

    def test_docstring_and_schemas_are_told(self) -> None:
        shift = self.commands["shift"]
        self.assertEqual(shift["summary"], "Move an event.")
        self.assertEqual(shift["args_schema"]["properties"]["by"], {"type": "string", "format": "duration", "description": "How far."})
        self.assertEqual(shift["args_schema"]["properties"]["event"], {"$ref": "#/$defs/Event", "description": "What to move."})
        self.assertFalse(shift["args_schema"]["$defs"]["Event"]["additionalProperties"])

    def test_a_worker_of_small_frames_leaves_the_schemas_out(self) -> None:
        with Worker(str(APPS / "typed.py"), max_frame=3000) as worker:
            self.assertEqual([one for one in worker.ready().body["commands"] if "args_schema" in one], [])
            self.refused(worker.call("shift", event={"at": NOON}, by=1), "/by")


@dataclass
class Chain:
    next: Optional[Chain] = None


@dataclass
class Since:
    at: datetime = datetime(2026, 1, 31)


class Colours(Enum):
    RED = (1, 2)
    BLUE = (3, 4)
    GREEN = (5, 6)


class Empty(Enum):
    pass


@dataclass
class Left:
    inner: Union[Left, Right, None] = None

    def __post_init__(self) -> None:
        raise ValueError("never")


@dataclass
class Right:
    inner: Union[Left, Right, None] = None
    size: int = 0


class Endless(Enum):
    UP = float("inf")


class Engine:
    """What JSON has no form for."""


@dataclass
class Part:
    engine: Engine


class Signatures(unittest.TestCase):
    def refused(self, function: Callable[..., object], **args: object) -> List[Dict[str, str]]:
        with self.assertRaises(ArgsRefused) as caught:
            make_command(function, None, None, False).types.convert(args)  # type: ignore[misc]
        return caught.exception.errors

    def test_a_flood_of_problems_is_bounded(self) -> None:
        def f(values: List[int]) -> None: ...

        errors = self.refused(f, values=["x"] * 1000)
        self.assertEqual((len(errors), errors[-1]), (17, {"pointer": "", "detail": "and more do not fit"}))

    def test_nesting_deeper_than_python_goes_is_refused(self) -> None:
        def f(value: Chain) -> None: ...

        deep: Any = None
        for _ in range(20_000):
            deep = {"next": deep}
        self.assertEqual(self.refused(f, value=deep)[0], {"pointer": "/value", "detail": "is nested deeper than Python can follow"})

    def test_a_default_of_none_may_be_sent(self) -> None:
        def f(value: int = None) -> None: ...  # type: ignore[assignment]

        described: Any = describe(make_command(f, None, None, False))
        self.assertEqual(described["args_schema"]["properties"]["value"]["anyOf"], [{"type": "integer"}, {"type": "null"}])

    def test_defaults_that_json_cannot_carry_or_that_are_long_are_not_told(self) -> None:
        def f(a: object = object(), b: str = "x" * 5000, c: object = {1: {2}}) -> None: ...

        described: Any = describe(make_command(f, None, None, False))
        self.assertEqual(described["args_schema"]["properties"], {"a": {}, "b": {"type": "string"}, "c": {"default": {"1": [2]}}})

    def test_defaults_that_callers_could_not_send_are_not_told(self) -> None:
        def f(a: datetime = datetime(2026, 1, 31), b: int = "x", c: datetime = datetime(2026, 1, 31, tzinfo=timezone.utc), d: Since = Since(), e: Point = Point(1)) -> None: ...  # type: ignore[assignment]

        described: Any = describe(make_command(f, None, None, False))
        moment = {"type": "string", "format": "date-time"}
        self.assertEqual(
            described["args_schema"]["properties"],
            {"a": moment, "b": {"type": "integer"}, "c": {**moment, "default": "2026-01-31T00:00:00Z"}, "d": {"$ref": "#/$defs/Since"}, "e": {"$ref": "#/$defs/Point", "default": {"x": 1, "y": 0}}},
        )
        self.assertEqual(described["args_schema"]["$defs"]["Since"]["properties"], {"at": moment})

    def undescribed(self, function: Callable[..., object], batch: bool = False) -> Any:
        described: Any = describe(make_command(function, None, None, False, "shared", Options(batch=batch)))
        return described.get("undescribed")

    def test_hints_that_cannot_be_described_are_told_with_their_place(self) -> None:
        def f(a: Dict[str, Engine], b: List[Part], c: Any, d: object, e: Callable[[], None], **more: Nowhere) -> Engine:  # type: ignore[name-defined]
            return Engine()

        engine, part = {"hint": f"{__name__}.Engine"}, {"hint": f"{__name__}.Engine", "parameter": "b"}
        told = self.undescribed(f)
        self.assertEqual((told[0], told[1], told[-1]), ({**engine, "parameter": "a"}, part, engine))
        self.assertEqual([(one["parameter"], "why" in one) for one in told[2:-1]], [("e", False), ("more", True)])

    def test_an_iterator_or_a_list_of_nothing_is_told(self) -> None:
        def items() -> Iterator:  # type: ignore[type-arg]
            yield 1

        def together(calls: List[Dict[str, Any]]) -> list:  # type: ignore[type-arg]
            return calls

        for function, batch in ((items, False), (together, True)):
            why = self.undescribed(function, batch)[0].pop("why")
            self.assertEqual(why, "it does not say of what it is a list or an iterator")

    def test_hints_that_raise_when_they_are_shown_cost_nothing(self) -> None:
        class Rude(Exception):
            def __str__(self) -> str:
                raise SystemExit

        class Shy:
            def __repr__(self) -> str:
                raise Rude

        self.assertEqual(undescribed(Shy()), undescribed(Shy))
        self.assertEqual(undescribed(int, Rude()), {"hint": "int", "why": undescribed(Rude)["hint"]})

    def test_choices_are_told_as_they_are_written(self) -> None:
        def f(a: Literal["x, y", "z"], b: Literal["only"], c: Colours) -> None: ...

        self.assertEqual(
            [one["detail"] for one in self.refused(f, a="x", b="x", c="x")],
            ['must be "x, y" or "z"', 'must be "only"', "must be [1, 2], [3, 4] or [5, 6]"],
        )

    def test_an_empty_tuple_is_known_and_an_enum_without_members_is_told(self) -> None:
        def f(a: Tuple[()], b: Empty) -> None: ...

        self.assertEqual(self.undescribed(f), [{"hint": f"{__name__}.Empty", "why": "TypeError: Empty has no members", "parameter": "b"}])

    def test_alternatives_within_alternatives_are_tried_once(self) -> None:
        def f(value: Union[Left, Right]) -> None: ...

        def nested(leaf: object) -> Dict[str, Any]:
            for _ in range(60):  # 2 to the 60th, if each were tried within each
                leaf = {"inner": leaf}
            return {"value": leaf}

        self.assertEqual([one["pointer"] for one in self.refused(f, **nested("x"))], ["/value"])
        args = nested({"size": 1})
        make_command(f, None, None, False).types.convert(args)  # type: ignore[misc]
        inner = args["value"]
        while inner.inner is not None:
            inner = inner.inner
        self.assertEqual(inner, Right(None, 1))

    def test_thousands_of_choices_are_worked_out_at_once(self) -> None:
        def f(a: Any) -> None: ...

        f.__annotations__["a"] = Literal[tuple(f"v{n}" for n in range(5_000))]
        described: Any = describe(make_command(f, None, None, False))  # comparing each with each would take many seconds
        self.assertEqual(len(described["args_schema"]["properties"]["a"]["enum"]), 5_000)
        self.assertEqual(self.refused(f, a="x")[0]["detail"].partition('"v9"')[2], " or one of 4990 more")

    def test_an_enum_of_what_json_cannot_carry_is_told(self) -> None:
        def f(a: Endless, b: int = 1) -> None: ...

        self.assertEqual(self.undescribed(f), [{"hint": f"{__name__}.Endless", "why": "ValueError: JSON cannot carry inf", "parameter": "a"}])
        self.assertEqual(self.refused(f, a=1, b="x")[0]["pointer"], "/b")

    def test_keys_that_stay_text_are_told(self) -> None:
        def f(a: Dict[Tuple[int, int], int], b: Dict[Point, int], c: Dict[Optional[str], int], d: Dict[Any, int], e: Dict[Colours, int], g: Dict[Empty, int]) -> None: ...

        told = self.undescribed(f)
        self.assertEqual([(one["parameter"], one.get("why")) for one in told], [("a", "keys of dicts arrive as text"), ("b", "keys of dicts arrive as text"), ("e", "keys of dicts arrive as text"), ("g", "TypeError: Empty has no members")])
        self.assertEqual([one["pointer"] for one in self.refused(f, a={"1": "x"}, b={}, c={}, d={}, e={}, g={})], ["/a/1"])

    @unittest.skipIf(sys.version_info < (3, 11), "tuples have no * before")
    def test_a_tuple_of_no_certain_length_in_it_takes_anything(self) -> None:
        def f(a: "Tuple[int, *Tuple[str, ...]]") -> None: ...

        self.assertEqual(self.undescribed(f)[0]["why"], "TypeError: it has a * in it")

    def test_no_more_than_a_few_hints_are_told(self) -> None:
        def f() -> None: ...

        f.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(f"p{n}", inspect.Parameter.KEYWORD_ONLY, annotation="x" * 500) for n in range(50)]
        )
        told = self.undescribed(f)
        self.assertEqual((len(told), told[0]["parameter"]), (16, "p0"))
        self.assertLessEqual(len(told[0]["hint"].encode()), 200)

    def test_bounds_that_make_no_sense_are_refused(self) -> None:
        for bounds in ({"pattern": "("}, {"multiple_of": 0}):
            with self.assertRaises(ValueError):
                Bounds(**bounds)


class Docstrings(unittest.TestCase):
    def test_parameters_are_found_in_each_style(self) -> None:
        google = "Do it.\n\nArgs:\n    a: the first\n        of them\n    b (int, optional): the second: really\n    *more: others\n\nReturns:\n    c: nothing"
        numpy = "Do it.\n\nParameters\n----------\na : int\n    the first\n    of them\nb\n    the second: really\n*more : str\n    others\n\nReturns\n-------\nc : int\n    nothing"
        sphinx = "Do it.\n\n:param a: the first\n    of them\n:param int b: the second: really\n:param more: others\n:returns: c: nothing"
        for text in (google, numpy, sphinx):
            self.assertEqual(descriptions(text), {"a": "the first of them", "b": "the second: really", "more": "others"})
        self.assertEqual(descriptions("Do it.\n\nNote: a thing\n\nExample:\n    a: no"), {})

    def test_a_partial_has_that_of_its_function(self) -> None:
        def f(a: int, b: int) -> int:
            """Add.

            Args:
                b: What to add.
            """
            return a + b

        described: Any = describe(make_command(partial(partial(f), 1), "add", None, False))
        self.assertEqual((described["summary"], described["args_schema"]["properties"]["b"]["description"]), ("Add.", "What to add."))
        told = partial(f, 1)
        told.__doc__ = "Add 1."
        self.assertEqual(make_command(told, "add", None, False).doc, "Add 1.")

    def test_the_summary_is_the_first_paragraph(self) -> None:
        self.assertEqual(summary("Do it,\nall of it.\n\nMore."), "Do it, all of it.")
        self.assertEqual(summary(""), "")


if __name__ == "__main__":
    unittest.main()
