"""Tests of the commands as callers see them, JSON in and JSON out, without the service. README.md says how to run them."""

from __future__ import annotations

import unittest

import app  # registers the commands
from charmer.testing import CommandFailed, InvalidArgs, call, session


class PriceTest(unittest.TestCase):
    def test_multiplies_and_takes_off(self) -> None:
        self.assertEqual(call("price", item={"product": "apple", "quantity": 3}), "1.20")
        self.assertEqual(call("price", item={"product": "bread"}, percent_off=50), "1.40")

    def test_refuses_what_does_not_fit(self) -> None:
        with self.assertRaises(InvalidArgs) as refused:
            call("price", item={"product": "apple", "quantity": 0})
        self.assertEqual(refused.exception.errors, [{"pointer": "/item/quantity", "detail": "must be at least 1"}])

    def test_knows_what_it_does_not_sell(self) -> None:
        with self.assertRaises(CommandFailed) as failed:
            call("price", item={"product": "gold"})
        self.assertEqual((failed.exception.code, failed.exception.status), ("no_such_product", 404))


class ReceiptTest(unittest.TestCase):
    def test_ends_with_the_total(self) -> None:
        lines = call("receipt", items=[{"product": "apple", "quantity": 2}, {"product": "cheese"}])
        self.assertEqual(lines, ["2 x apple: 0.80", "1 x cheese: 5.25", "total: 6.05"])


class BasketTest(unittest.TestCase):
    def setUp(self) -> None:
        app.basket = app.Basket()  # in a test globals are those of the test, and not of a session

    def test_is_kept_in_a_session(self) -> None:
        with session("ada"):
            call("put", item={"product": "apple"})
            kept = call("put", item={"product": "bread", "quantity": 2})
        self.assertEqual(kept["owner"], "ada")
        self.assertEqual([item["product"] for item in kept["items"]], ["apple", "bread"])

    def test_needs_a_session(self) -> None:
        with self.assertRaises(CommandFailed) as failed:
            call("put", item={"product": "apple"})
        self.assertEqual(failed.exception.code, "no_session")


if __name__ == "__main__":
    unittest.main()
