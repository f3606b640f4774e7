"""Tests of the plain functions and of the data; no service needed."""

from __future__ import annotations

import csv
import datetime as dt
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable
from unittest import mock

import app
import make_data
from charmer import CommandError


def minutes(when: str) -> float:
    """Minutes since the epoch of a time in the file."""
    return dt.datetime.strptime(when, "%Y-%m-%dT%H:%MZ").timestamp() / 60


class TableTest(unittest.TestCase):
    def setUp(self) -> None:
        app._table = None

    def refused(self, code: str, status: int, call: Callable[..., Any], *args: Any) -> None:
        with self.assertRaises(CommandError) as caught:
            call(*args)
        self.assertEqual((caught.exception.code, caught.exception.status), (code, status))

    def load_text(self, text: str) -> Any:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            (folder / "t.csv").write_text(text, encoding="utf-8")
            with mock.patch.object(app, "FOLDER", folder):
                return app.load("t.csv")


class BeforeLoadTest(TableTest):
    def test_every_question_is_refused(self) -> None:
        self.refused("not_loaded", 409, app.columns)
        self.refused("not_loaded", 409, app.sum_column, "month")
        self.refused("not_loaded", 409, app.group, "city", "month")
        self.refused("not_loaded", 409, app.filter_rows, "month", "==", 1)
        self.refused("not_loaded", 409, app.top, "month")


class LoadTest(TableTest):
    def test_reads_ten_thousand_rows(self) -> None:
        loaded = app.load()
        self.assertEqual(loaded["rows"], 30 * 365)
        self.assertEqual(loaded["columns"], list(make_data.HEADER))

    def test_stays_in_the_data_folder(self) -> None:
        for path in ("../app.py", "/etc/passwd", "", ".", "nothing.csv"):
            self.refused("no_such_file", 404, app.load, path)

    def test_a_file_that_is_no_table_is_refused_and_the_old_table_stays(self) -> None:
        app.load()
        self.refused("not_a_table", 422, self.load_text, "a,b\n1\n")
        self.refused("not_a_table", 422, self.load_text, "")
        self.assertEqual(len(app.columns()), len(make_data.HEADER))

    def test_a_second_load_replaces_the_table(self) -> None:
        app.load()
        self.load_text("a,b\n1,x\n2.5,\n")
        self.assertEqual(
            app.columns(),
            [{"name": "a", "type": "number", "missing": 0}, {"name": "b", "type": "text", "missing": 1}],
        )
        self.assertEqual(app.sum_column("a"), 3.5)


class QuestionTest(TableTest):
    def setUp(self) -> None:
        super().setUp()
        app.load()
        with make_data.FILE.open(newline="") as stream:
            self.rows = list(csv.DictReader(stream))

    def test_types_and_missing_values(self) -> None:
        polar = sum(not row["sunrise_utc"] for row in self.rows)
        kinds = {column["name"]: (column["type"], column["missing"]) for column in app.columns()}
        self.assertEqual(kinds["month"], ("integer", 0))
        self.assertEqual(kinds["latitude"], ("number", 0))
        self.assertEqual(kinds["sunrise_utc"], ("text", polar))

    def test_sum_agrees_with_the_file(self) -> None:
        want = sum(int(row["day_length_minutes"]) for row in self.rows)
        self.assertEqual(app.sum_column("day_length_minutes"), want)

    def test_unknown_columns_are_404_everywhere(self) -> None:
        self.refused("no_such_column", 404, app.sum_column, "moon")
        self.refused("no_such_column", 404, app.group, "moon", "month")
        self.refused("no_such_column", 404, app.group, "city", "moon")
        self.refused("no_such_column", 404, app.filter_rows, "moon", "==", 1)
        self.refused("no_such_column", 404, app.top, "moon")

    def test_groups_agree_with_the_file(self) -> None:
        lengths = [int(row["day_length_minutes"]) for row in self.rows if row["city"] == "Lima"]
        want = {
            "sum": sum(lengths),
            "mean": round(sum(lengths) / 365, 6),
            "count": 365,
            "min": min(lengths),
            "max": max(lengths),
        }
        for how, value in want.items():
            groups = app.group("city", "day_length_minutes", how)
            self.assertEqual([group["key"] for group in groups], sorted(city.name for city in make_data.CITIES))
            self.assertIn({"key": "Lima", "value": value}, groups)

    def test_missing_values_do_not_count(self) -> None:
        counts = {group["key"]: group["value"] for group in app.group("city", "sunrise_utc", "count")}
        self.assertEqual(counts["Lima"], 365)
        self.assertLess(counts["Tromso"], 260)

    def test_filter_counts_all_and_shows_some(self) -> None:
        found = app.filter_rows("day_length_minutes", "<", 240, 3)
        want = [row for row in self.rows if int(row["day_length_minutes"]) < 240]
        self.assertEqual(found["matched"], len(want))
        self.assertEqual(
            [(row["date"], row["city"]) for row in found["rows"]],
            [(row["date"], row["city"]) for row in want[:3]],
        )

    def test_every_operator(self) -> None:
        matched = {op: app.filter_rows("month", op, 2, 0)["matched"] for op in app.OPERATORS}
        each = 28 * 30
        self.assertEqual(
            matched,
            {"==": each, "!=": 10950 - each, "<": 930, "<=": 930 + each, ">": 10020 - each, ">=": 10020},
        )

    def test_top_is_sorted_and_the_earlier_row_wins_a_tie(self) -> None:
        best = app.top("day_length_minutes", 3)
        self.assertEqual([row["city"] for row in best], ["Tromso"] * 3)
        self.assertEqual([row["date"] for row in best], ["2025-05-17", "2025-05-18", "2025-05-19"])
        self.assertEqual(app.top("city", 0), [])

    def test_questions_that_make_no_sense_are_400(self) -> None:
        self.refused("wrong_type", 400, app.sum_column, "city")
        self.refused("wrong_type", 400, app.group, "month", "city", "mean")
        self.refused("wrong_type", 400, app.filter_rows, "city", "==", 1)
        self.refused("wrong_type", 400, app.filter_rows, "month", "==", "1")
        self.refused("no_such_aggregate", 400, app.group, "city", "month", "median")
        self.refused("no_such_operator", 400, app.filter_rows, "month", "=", 1)
        self.refused("out_of_range", 400, app.filter_rows, "month", "==", 1, -1)
        self.refused("out_of_range", 400, app.top, "month", -1)


class DataTest(unittest.TestCase):
    def test_the_file_is_what_the_formulas_give(self) -> None:
        self.assertEqual(make_data.FILE.read_bytes(), make_data.make())

    def test_known_facts(self) -> None:
        """Times as almanacs give them, to the minute or so, and what follows from geometry."""
        with make_data.FILE.open(newline="") as stream:
            rows = {(row["date"], row["city"]): row for row in csv.DictReader(stream)}
        almanac = {
            ("2025-06-21", "London", "sunrise_utc"): "2025-06-21T03:43Z",
            ("2025-06-21", "London", "sunset_utc"): "2025-06-21T20:21Z",
            ("2025-06-21", "New York", "sunrise_utc"): "2025-06-21T09:25Z",
            ("2025-06-21", "New York", "sunset_utc"): "2025-06-22T00:31Z",
        }
        for (date, name, column), want in almanac.items():
            apart = minutes(rows[date, name][column]) - minutes(want)
            self.assertLessEqual(abs(apart), 1, (date, name, column))
        for city in make_data.CITIES:
            self.assertLess(abs(int(rows["2025-03-20", city.name]["day_length_minutes"]) - 729), 15, city.name)
        self.assertEqual(rows["2025-12-21", "Tromso"]["day_length_minutes"], "0")
        self.assertEqual(rows["2025-06-21", "Tromso"]["day_length_minutes"], "1440")


if __name__ == "__main__":
    unittest.main()
