"""Type hints: their schemas, the conversion of arguments, and the encoding of results."""

from __future__ import annotations

import unittest

from tests import cases


class Table(cases.Cases):
    module = "tests.types_table"

    def test_there_are_many(self) -> None:
        self.assertGreaterEqual(len(self.table.CASES), 60)


if __name__ == "__main__":
    unittest.main()
