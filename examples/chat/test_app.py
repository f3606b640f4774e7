"""Tests of the plain functions; no service needed."""

from __future__ import annotations

import unittest

import app


class ChatTest(unittest.TestCase):
    def test_it_learns_what_follows(self) -> None:
        self.assertEqual(app.learn("a b a c"), {"a": ["b", "c"], "b": ["a"]})

    def test_it_takes_up_the_longest_word_that_it_knows(self) -> None:
        self.assertEqual(app.opening("what of Refraction and Light, xyzzy?"), "Refraction")
        self.assertEqual(app.opening("xyzzy?"), "Light")


if __name__ == "__main__":
    unittest.main()
