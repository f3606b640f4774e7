"""Runs a table of type hints: their schemas, the conversion of arguments, and the encoding of results."""

from __future__ import annotations

import importlib
import json
import re
import unittest
from types import FunctionType
from typing import Any, Callable, Dict

from charmer._args import ArgsRefused
from charmer._commands import make_command
from charmer._encode import result_encoder
from tests.types_table import Back, Case


class Cases(unittest.TestCase):
    """Runs a table of cases: CASES of a module, whose names the hints may use."""

    module = ""

    def setUp(self) -> None:
        if not self.module:
            self.skipTest("it has no table")
        self.table: Any = importlib.import_module(self.module)

    def command(self, hint: object, returns: object = None) -> Any:
        """Make a command of the module of the table, which takes a value with a hint and returns it."""
        run: Any = FunctionType((lambda value: value).__code__, vars(self.table), "run")
        run.__annotations__ = {"value": hint, "return": returns}
        return make_command(run, None, None, False)

    def each(self, act: Callable[[Case], None]) -> None:
        for case in self.table.CASES:
            with self.subTest(hint=str(case.hint)):
                act(case)

    def check_values(self, case: Case) -> None:
        command = self.command(case.hint)
        for value in case.values:
            sent, back = value if isinstance(value, Back) else (value, value)
            args: Dict[str, Any] = {"value": json.loads(json.dumps(sent))}
            if command.types.convert is not None:
                command.types.convert(args)
            self.assertIsInstance(args["value"], case.kind)
            self.assertEqual(json.dumps(json.loads(result_encoder()(args["value"]))), json.dumps(back))

    def check_wrong(self, case: Case) -> None:
        command = self.command(case.hint)
        for value, pointers in case.wrong:
            with self.assertRaises(ArgsRefused, msg=str(value)) as caught:
                command.types.convert({"value": value})
            wanted = [f"/value{pointer}" for pointer in pointers]
            self.assertEqual([one["pointer"] for one in caught.exception.errors], wanted, value)
            self.assertTrue(all(one["detail"] for one in caught.exception.errors))

    def check_schemas(self, case: Case) -> None:
        worked = self.command(case.hint, case.hint).types.worked_out()
        self.assertEqual(worked.args_schema["properties"]["value"], case.schema)
        result = {key: value for key, value in worked.result_schema.items() if key != "$defs"}
        self.assertEqual(result, case.out or case.schema)
        for schema in (worked.args_schema, worked.result_schema):
            referred = set(re.findall(r'"\$ref": "#/\$defs/([^"]*)"', json.dumps(schema)))
            self.assertEqual(referred, set(schema.get("$defs", {})))

    def test_each_hint_has_its_schema(self) -> None:
        self.each(self.check_schemas)

    def test_hints_that_are_text_are_read(self) -> None:
        for number, case in enumerate(self.table.CASES):
            worked = self.command(f"CASES[{number}].hint").types.worked_out()
            self.assertEqual(worked.args_schema["properties"]["value"], case.schema)

    def test_values_arrive_as_what_the_hint_says_and_go_back_as_they_came(self) -> None:
        self.each(self.check_values)

    def test_a_wrong_value_is_refused_and_pointed_at(self) -> None:
        self.each(self.check_wrong)
