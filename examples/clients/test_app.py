"""Tests of the plain functions; no service needed."""

from __future__ import annotations

import unittest
from datetime import datetime, timezone

import app
from charmer import CommandError

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


class BookshopTest(unittest.TestCase):
    def test_each_title_of_an_order_is_a_parcel(self) -> None:
        order = app.Order([app.Line("Emma", 2), app.Line("Walden")], NOON, app.Shipping.EXPRESS)
        parcels = app.place_order(order)
        self.assertEqual([(p.number, p.title, p.copies) for p in parcels], [(1, "Emma", 2), (2, "Walden", 1)])
        self.assertEqual({p.arrives for p in parcels}, {NOON.replace(month=2, day=1)})

    def test_what_is_sold_out_or_unknown_is_refused(self) -> None:
        for title in ("Ulysses", "Anything"):
            with self.assertRaises(CommandError) as raised:
                app.place_order(app.Order([app.Line(title)], NOON))
            self.assertEqual(raised.exception.code, "sold_out")

    def test_the_basket_keeps_what_is_put_in(self) -> None:
        before = list(app.add_to_basket("Emma"))
        self.assertEqual(app.add_to_basket("Walden"), [*before, "Walden"])

    def test_a_parcel_ends_at_the_door(self) -> None:
        self.assertEqual([stop.place for stop in app.track(1)][-1], "door")

    def test_stock_is_counted_in_copies(self) -> None:
        self.assertEqual(app.take_stock(0), 15)


if __name__ == "__main__":
    unittest.main()
