"""Tests of the plain functions; no service needed."""

from __future__ import annotations

import unittest

import app


class HelloTest(unittest.TestCase):
    def test_greets_by_name(self) -> None:
        self.assertEqual(app.greet("Ada"), "hello Ada")

    def test_excitement_is_one_exclamation_mark(self) -> None:
        self.assertEqual(app.greet("Ada", excited=True), "hello Ada!")

    def test_counts_up_within_one_process(self) -> None:
        first = app.count()
        self.assertEqual([app.count(), app.count()], [first + 1, first + 2])


if __name__ == "__main__":
    unittest.main()
