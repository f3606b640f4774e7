"""Models of pydantic, attrs and msgspec, where these are installed, as hints and as results."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from importlib.util import find_spec
from typing import Any, Tuple

from charmer._args import ArgsRefused
from charmer._encode import result_encoder
from tests import cases, types_table
from tests.harness import RUNTIME


@unittest.skipUnless(find_spec("pydantic"), "pydantic is not installed")
class Pydantic(cases.Cases):
    module = "tests.with_pydantic"

    def test_types_of_the_library_are_checked_by_it(self) -> None:
        case: Any = self.table.URL_CASE
        self.check_values(case)
        self.check_wrong(case)

    def test_details_keep_the_names_that_they_begin_with(self) -> None:
        with self.assertRaises(ArgsRefused) as caught:
            self.command(self.table.UUID4).types.convert({"value": "123e4567-e89b-12d3-a456-426614174000"})
        self.assertEqual(caught.exception.errors[0]["detail"], "UUID version 4 expected")

    def test_models_are_encoded_wherever_they_are(self) -> None:
        address = self.table.Address(street="x", number=1)
        person = self.table.Person(fullName="Ada")
        encode = result_encoder()
        self.assertEqual(json.loads(encode({"a": [address]})), {"a": [{"street": "x", "number": 1}]})
        self.assertEqual(json.loads(encode([person]))[0]["fullName"], "Ada")

    def test_models_of_one_name_do_not_meet(self) -> None:
        worked = self.command(Tuple[self.table.Cat, types_table.Cat]).types.worked_out()
        self.assertEqual(set(worked.args_schema["$defs"]), {"Cat", "Cat_2"})


    def test_a_discriminator_leads_to_the_models_of_its_own_module(self) -> None:
        worked = self.command(Tuple[types_table.Cat, self.table.Owner]).types.worked_out()
        pet = worked.args_schema["$defs"]["Owner"]["properties"]["pet"]
        self.assertEqual(pet["discriminator"]["mapping"], {"cat": "#/$defs/Cat_2", "dog": "#/$defs/Dog"})


@unittest.skipUnless(find_spec("attrs"), "attrs is not installed")
class Attrs(cases.Cases):
    module = "tests.with_attrs"

    def test_fields_are_told_with_their_defaults(self) -> None:
        worked = self.command(self.table.Crate, self.table.Crate).types.worked_out()
        crate = worked.args_schema["$defs"]["Crate"]
        self.assertEqual((crate["required"], crate["description"]), (["name"], "What goes on a shelf."))
        self.assertEqual(crate["properties"]["size"], {"type": "integer", "default": 1})
        self.assertEqual((crate["properties"]["weight"], crate["properties"]["secret"]["default"]), ({"default": 0.0}, "x"))
        told = worked.result_schema["$defs"]["Crate"]
        self.assertEqual((told["properties"]["weight"], set(told["required"])), ({"type": "number"}, set(self.table.FULL)))


@unittest.skipUnless(find_spec("msgspec"), "msgspec is not installed")
class Msgspec(cases.Cases):
    module = "tests.with_msgspec"

    def test_a_struct_with_what_has_no_schema_is_told(self) -> None:
        worked = self.command(self.table.Odd).types.worked_out()
        self.assertEqual((worked.undescribed[0]["hint"], worked.undescribed[0]["parameter"]), ("tests.with_msgspec.Odd", "value"))
        with self.assertRaises(ArgsRefused):
            self.command(self.table.Odd).types.convert({"value": {"size": "x"}})

    def test_structs_are_encoded_wherever_they_are(self) -> None:
        item = self.table.Item("x")
        self.assertEqual(json.loads(result_encoder()({"a": (item,)})), {"a": [{"name": "x", "count": 1}]})


class Absent(unittest.TestCase):
    def test_no_library_is_imported_that_the_app_has_not(self) -> None:
        script = (
            "import sys\n"
            "from charmer import command\n"
            "from charmer._registry import REGISTRY\n"
            "@command\n"
            "def f(a: int, b: 'list[str]') -> 'dict[str, int]': ...\n"
            "assert REGISTRY.commands['f'].types.worked_out().args_schema\n"
            "print([name for name in ('pydantic', 'msgspec', 'decimal', 'uuid') if name in sys.modules])\n"
        )
        ran = subprocess.run([sys.executable, "-c", script], cwd=RUNTIME, capture_output=True, text=True, check=True)
        self.assertEqual(ran.stdout, "[]\n")


if __name__ == "__main__":
    unittest.main()
