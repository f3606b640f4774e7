"""The decorators: what they take, what they refuse, and how commands are described."""

from __future__ import annotations

import functools
import os
import pickle
import unittest
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Tuple
from unittest import mock

import charmer
from charmer import CommandError
from charmer._args import misfits, place
from charmer._commands import Options, describe, make_command
from charmer._registry import REGISTRY


def make(function: Callable[..., object], **options: Any) -> Any:
    return make_command(
        function,
        options.get("name"),
        options.get("timeout"),
        options.get("idempotent", False),
        options.get("isolation", "shared"),
        Options(**{name: options[name] for name in ("concurrency", "batch", "max_batch", "max_wait_ms") if name in options}),
    )


class WithRegistry(unittest.TestCase):
    """Gives each test an empty registry."""

    def setUp(self) -> None:
        self.addCleanup(REGISTRY.commands.update, dict(REGISTRY.commands))
        self.addCleanup(REGISTRY.commands.clear)
        REGISTRY.commands.clear()
        for hooks in REGISTRY.hooks.values():
            self.addCleanup(hooks.clear)


class Commands(WithRegistry):
    def test_a_command_stays_the_function_it_was(self) -> None:
        def plain(a: int) -> int:
            return a + 1

        self.assertIs(charmer.command(plain), plain)
        self.assertIs(charmer.command(name="other", timeout=2)(plain), plain)
        self.assertEqual(plain(1), 2)
        self.assertEqual(list(REGISTRY.commands), ["plain", "other"])

    def test_a_name_is_taken_once(self) -> None:
        charmer.command(name="twice")(len_of)
        with self.assertRaisesRegex(ValueError, "'twice' is registered twice: .*test_registry.py:[0-9]+ and .*"):
            charmer.command(name="twice")(len_of)

    def test_each_kind_of_function_is_told_from_the_others(self) -> None:
        async def waits() -> None: ...

        async def streams() -> AsyncIterator[int]:
            yield 1

        def generates() -> Iterator[int]:
            yield 1

        class Waits:
            async def __call__(self) -> None: ...

        cases: List[Tuple[Callable[..., object], Dict[str, object]]] = [
            (len_of, {}),
            (waits, {"concurrency": 100}),
            (streams, {"stream": True, "concurrency": 100}),
            (generates, {"stream": True}),
            (functools.partial(waits), {"concurrency": 100}),
            (Waits(), {"concurrency": 100}),
        ]
        for function, wanted in cases:
            got = describe(make(function, name="f"))
            self.assertEqual({name: got[name] for name in ("stream", "concurrency") if name in got}, wanted)

    def test_concurrency_is_what_the_command_says_else_what_the_service_does(self) -> None:
        async def waits() -> None: ...

        self.assertEqual(make(waits, concurrency=7).concurrency, 7)
        self.assertEqual(make(len_of, concurrency=7).concurrency, 7)
        self.assertEqual(make(waits, isolation="fresh").concurrency, 1)
        with mock.patch.dict(os.environ, {"CHARMER_WORKER_CONCURRENCY": "9"}):
            self.assertEqual(make(waits).concurrency, 9)
            self.assertEqual(make(len_of).concurrency, 1)

    def test_a_batch_takes_whatever_its_calls_send(self) -> None:
        def together(items: List[Dict[str, Any]]) -> List[int]:
            """Do it."""
            return []

        wanted: Dict[str, object] = {"name": "together", "summary": "Do it.", "doc": "Do it.", "concurrency": 16}
        wanted.update(args_schema={"type": "object"}, result_schema={"type": "integer"})
        wanted["parameters"] = [{"name": "items", "required": False, "variadic": True}]
        self.assertEqual(describe(make(together, batch=True, max_batch=8)), wanted)

    def test_bad_options_are_refused_with_a_sentence(self) -> None:
        cases: Dict[str, Callable[[], object]] = {
            "stands above a function, not 'greet'": lambda: charmer.command("greet"),  # type: ignore[call-overload]
            "cannot be the name": lambda: charmer.command(name="no spaces")(len_of),
            "'<lambda>' cannot be the name": lambda: charmer.command(lambda: 1),
            "the name of a command is a string": lambda: make(len_of, name=3),
            "a number of seconds": lambda: make(len_of, timeout="3"),
            "number of seconds, not True": lambda: make(len_of, timeout=True),
            "more than 0 seconds": lambda: make(len_of, timeout=0),
            "and finite": lambda: make(len_of, timeout=float("inf")),
            "nan, but must be": lambda: make(len_of, timeout=float("nan")),
            "True or False": lambda: make(len_of, idempotent=1),
            "is 'shared' or 'fresh', not 'own'": lambda: make(len_of, isolation="own"),
            "is 'shared' or 'fresh', not True": lambda: make(len_of, isolation=True),
            "is a whole number, not 2.5": lambda: make(len_of, concurrency=2.5),
            "is 0, but must be at least 1": lambda: make(len_of, concurrency=0),
            "so its concurrency is 1, not 2": lambda: make(len_of, concurrency=2, isolation="fresh"),
            "batch of command 'len_of' is True or False, not 1": lambda: make(len_of, batch=1),
            "a generator function, which cannot run in batches": lambda: make(generates, batch=True),
            "so it cannot run in batches": lambda: make(len_of, batch=True, isolation="fresh"),
            "not concurrency": lambda: make(len_of, batch=True, concurrency=2),
            "max_batch of command 'len_of' is 0": lambda: make(len_of, batch=True, max_batch=0),
            "max_batch of command 'len_of' is a whole number": lambda: make(len_of, batch=True, max_batch=2.0),
            "max_wait_ms of command 'len_of' is -1": lambda: make(len_of, batch=True, max_wait_ms=-1),
            "max_wait_ms of command 'len_of' is a number": lambda: make(len_of, batch=True, max_wait_ms="5"),
            "takes one argument by position": lambda: make(keyword_only, batch=True),
        }
        for sentence, act in cases.items():
            with self.subTest(sentence), self.assertRaisesRegex((TypeError, ValueError), sentence):
                act()

    def test_a_command_is_described_as_ready_does(self) -> None:
        def greet(name: str, /, times: int = 1, *more: int, excited: Optional[bool] = None, **rest: float) -> str:
            """Greet somebody.

            At length.
            """
            return name

        self.assertEqual(
            describe(make(greet, timeout=1.5, idempotent=True, isolation="fresh")),
            {
                "name": "greet",
                "summary": "Greet somebody.",
                "doc": "Greet somebody.\n\nAt length.",
                "parameters": [
                    {"name": "name", "required": True, "annotation": "str"},
                    {"name": "times", "required": False, "annotation": "int"},
                    {"name": "excited", "required": False, "annotation": "Optional[bool]"},
                    {"name": "rest", "required": False, "annotation": "float", "variadic": True},
                ],
                "timeout_ms": 1500,
                "idempotent": True,
                "isolation": "fresh",
                "args_schema": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "times": {"type": "integer", "default": 1},
                        "excited": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
                    },
                    "required": ["name"],
                    "additionalProperties": {"type": "number"},
                },
                "result_schema": {"type": "string"},
            },
        )
        bare: Any = eval("lambda a, b=1: a")
        wanted = {
            "name": "f",
            "parameters": [{"name": "a", "required": True}, {"name": "b", "required": False}],
            "args_schema": {
                "type": "object",
                "properties": {"a": {}, "b": {"default": 1}},
                "required": ["a"],
                "additionalProperties": False,
            },
        }
        self.assertEqual(describe(make(bare, name="f")), wanted)
        self.assertEqual(make(len_of, timeout=0.0015).timeout_ms, 1.5)

    def test_annotations_that_are_objects_read_like_source(self) -> None:
        def f(a: Any, b: Any) -> None: ...

        f.__annotations__ = {"a": int, "b": List[Optional[int]]}
        parameters: Any = describe(make(f))["parameters"]
        self.assertEqual(parameters[0]["annotation"], "int")
        self.assertRegex(parameters[1]["annotation"], r"^List\[(Optional\[int\]|int \| None)\]$")


class Arguments(unittest.TestCase):
    def test_each_misfit_is_pointed_at(self) -> None:
        def f(name: str, n: int = 0) -> None: ...

        command = make(f)
        self.assertEqual(misfits(command, {"name": "x"}), [])
        self.assertEqual(
            misfits(command, {"nmae": 1, "a/b~c": 2}),
            [
                {"pointer": "/nmae", "detail": "unknown argument"},
                {"pointer": "/a~1b~0c", "detail": "unknown argument"},
                {"pointer": "/name", "detail": "is required"},
            ],
        )

    def test_a_flood_of_misfits_is_bounded(self) -> None:
        wrong = misfits(make(len_of), {f"x{n}": 1 for n in range(1000)})
        self.assertEqual(len(wrong), 17)
        self.assertEqual(wrong[-1]["detail"], "and 984 more do not fit")

    def test_positional_only_arguments_get_their_place(self) -> None:
        def f(a: int, b: int = 2, /, c: int = 3, **rest: int) -> None: ...

        command = make(f)
        self.assertEqual(misfits(command, {"a": 1, "z": 9}), [])
        self.assertEqual(place(command, {"a": 1, "z": 9}), ([1, 2], {"z": 9}))
        self.assertEqual(place(command, {"c": 3, "b": 5, "a": 1}), ([1, 5], {"c": 3}))


class Hooks(WithRegistry):
    def test_hooks_take_what_their_event_gives(self) -> None:
        def none() -> None: ...
        def one(session_id: str) -> None: ...
        def two(a: str, b: str) -> None: ...
        def keyword(*, a: str) -> None: ...
        def free(*args: str) -> None: ...

        async def waits() -> None: ...

        charmer.on_start(none)
        charmer.on_stop(free)
        charmer.on_session_start(none)
        charmer.on_session_start(one)
        charmer.on_session_end(free)
        self.assertEqual([hook.takes_id for hook in REGISTRY.hooks["session_start"]], [False, True])
        self.assertEqual([hook.takes_id for hook in REGISTRY.hooks["session_end"]], [True])
        self.assertEqual([hook.takes_id for hook in REGISTRY.hooks["stop"]], [False])
        for decorator, function in (
            (charmer.on_start, one),
            (charmer.on_stop, one),
            (charmer.on_session_start, two),
            (charmer.on_session_end, keyword),
            (charmer.on_start, waits),
        ):
            with self.assertRaises(TypeError):
                decorator(function)


class CommandErrors(unittest.TestCase):
    def test_code_and_status_are_checked(self) -> None:
        error = CommandError("not_sold2", "not sold here", status=404)
        self.assertEqual((error.code, error.message, error.status), ("not_sold2", "not sold here", 404))
        self.assertEqual(str(error), "not sold here")
        self.assertEqual(CommandError("x", "y").status, 422)
        for code in ("", "Upper", "9x", "a-b", "a" * 65, "a\n", 3):
            with self.subTest(code=code), self.assertRaises(ValueError):
                CommandError(code, "m")  # type: ignore[arg-type]
        for status in (200, 399, 502, 503, 504, 600, True, 404.0, "404"):
            with self.subTest(status=status), self.assertRaises(ValueError):
                CommandError("x", "m", status=status)  # type: ignore[arg-type]

    def test_it_survives_pickling(self) -> None:
        copy = pickle.loads(pickle.dumps(CommandError("x", "y", status=404)))
        self.assertEqual((copy.code, str(copy), copy.status), ("x", "y", 404))


class Current(unittest.TestCase):
    def test_outside_of_a_call_there_is_none(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "inside of a call"):
            charmer.current()


def generates() -> Iterator[int]:
    yield 1


def keyword_only(*, items: List[object]) -> None: ...


def len_of(value: str = "") -> int:
    return len(value)


if __name__ == "__main__":
    unittest.main()
