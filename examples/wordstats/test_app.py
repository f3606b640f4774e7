"""Tests of the plain functions; no service needed."""

from __future__ import annotations

import math
import unittest

import app
from charmer import CommandError


class StatsTest(unittest.TestCase):
    def test_counts_words_and_sentences(self) -> None:
        got = app.stats("Don't stop. Is this 2 o'clock? \"Yes!\" He said: go.")
        self.assertEqual((got["words"], got["sentences"]), (9, 4))

    def test_abbreviations_before_numbers_and_small_letters_end_no_sentence(self) -> None:
        self.assertEqual(app.stats("Qu. 2. Do they, e.g. the rays, differ?")["sentences"], 1)

    def test_readability_by_hand(self) -> None:
        got = app.stats("The cat sat on the mat. The dog ran.")["readability"]
        self.assertEqual(got["words_per_sentence"], 4.5)
        self.assertEqual(got["syllables_per_word"], 1.0)
        self.assertEqual(got["reading_ease"], round(206.835 - 1.015 * 4.5 - 84.6, 2))
        self.assertEqual(got["grade"], round(0.39 * 4.5 + 11.8 - 15.59, 2))

    def test_entropy_by_hand(self) -> None:
        got = app.stats("abababab")["entropy_bits"]
        self.assertEqual(got, {"per_character": 1.0, "per_character_after_another": 0.0, "per_word": 0.0})
        self.assertEqual(app.stats("one two three four")["entropy_bits"]["per_word"], 2.0)

    def test_a_text_without_words_has_no_readability(self) -> None:
        for text in ("", " \n", "1, 2, 3."):
            got = app.stats(text)
            self.assertEqual((got["words"], got["sentences"], got["longest_word"]), (0, 0, None))
            self.assertIsNone(got["readability"])

    def test_letters_beyond_ascii_are_letters(self) -> None:
        self.assertEqual(app.words("Phænomena, naïve Æther"), ["phænomena", "naïve", "æther"])

    def test_the_text_that_comes_with_the_app(self) -> None:
        got = app.stats()
        self.assertGreater(len(app.TEXT.encode()), 20_000)
        self.assertEqual(got["characters"], len(app.TEXT))
        self.assertLess(got["entropy_bits"]["per_character_after_another"], got["entropy_bits"]["per_character"])
        self.assertEqual(app.stats(app.TEXT), got)


class SyllablesTest(unittest.TestCase):
    def test_rule_of_thumb(self) -> None:
        for word, want in {"light": 1, "motion": 2, "flame": 1, "able": 2, "the": 1, "vibration": 3, "bcd": 1}.items():
            self.assertEqual(app.syllables(word), want, word)


class TopTest(unittest.TestCase):
    def test_most_frequent_first_then_alphabetical(self) -> None:
        self.assertEqual(
            app.top("b a c b a d", 3),
            [{"words": "a", "times": 2}, {"words": "b", "times": 2}, {"words": "c", "times": 1}],
        )

    def test_runs_of_words(self) -> None:
        self.assertEqual(app.top("to be or not to be", 1, 2), [{"words": "to be", "times": 2}])
        self.assertEqual(app.top("to be", 5, 3), [])

    def test_out_of_range_is_refused(self) -> None:
        for n, length in ((-1, 1), (1, 0)):
            with self.assertRaises(CommandError) as caught:
                app.top("a", n, length)
            self.assertEqual((caught.exception.code, caught.exception.status), ("out_of_range", 400))


class CompareTest(unittest.TestCase):
    def test_same_words(self) -> None:
        got = app.compare("red green", "Green, red!")
        self.assertEqual(got, {"cosine": 1.0, "jaccard": 1.0, "shared_words": 2, "only_in_a": []})

    def test_nothing_in_common(self) -> None:
        got = app.compare("red", "green")
        self.assertEqual(got, {"cosine": 0.0, "jaccard": 0.0, "shared_words": 0, "only_in_a": ["red"]})

    def test_partly(self) -> None:
        got = app.compare("red red green", "red blue")
        self.assertEqual(got["cosine"], round(2 / math.sqrt(5 * 2), 6))
        self.assertEqual(got["jaccard"], round(1 / 3, 6))

    def test_needs_words(self) -> None:
        with self.assertRaises(CommandError) as caught:
            app.compare("...", "red")
        self.assertEqual((caught.exception.code, caught.exception.status), ("no_words", 400))


if __name__ == "__main__":
    unittest.main()
