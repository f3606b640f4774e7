"""A table in a session: load a CSV file once, then ask about it.

The table is a module global, so it belongs to one process, and a session is one process: whoever calls with the same
session_id sees the same table, and nobody else does. A cell without a value is None and takes no part in sums, means,
minima, maxima, comparisons or rankings.
"""

from __future__ import annotations

import csv
import heapq
import math
import operator
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

from charmer import CommandError, command

FOLDER = (Path(__file__).parent / "data").resolve()
DEFAULT = "daylight-2025.csv"

Cell = Optional[Union[int, float, str]]
Row = dict[str, Cell]

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Table(NamedTuple):
    """Columns by name, all of the same length; type is "integer", "number" or "text"."""

    columns: dict[str, list[Cell]]
    types: dict[str, str]
    rows: int


_table: Optional[Table] = None


@command
def load(path: str = DEFAULT) -> dict[str, Any]:
    """Load a CSV file of the data folder. A table that was loaded before is replaced."""
    global _table
    file = (FOLDER / path).resolve()
    if FOLDER not in file.parents or not file.is_file():
        raise CommandError("no_such_file", f"there is no {path!r} in the data folder", status=404)
    _table = read(file)
    return {"file": path, "rows": _table.rows, "columns": list(_table.columns)}


@command
def columns() -> list[dict[str, Any]]:
    """Name, type and number of missing values of each column."""
    table = loaded()
    return [
        {"name": name, "type": table.types[name], "missing": cells.count(None)} for name, cells in table.columns.items()
    ]


@command(name="sum")
def sum_column(column: str) -> Union[int, float]:
    """Add up a column of numbers."""
    return total(numbers(column))


@command
def group(by: str, column: str, how: str = "sum") -> list[dict[str, Any]]:
    """One value for each group of rows that agree in a column: sum, mean, count, min or max; sorted by key."""
    if how not in AGGREGATES:
        raise CommandError("no_such_aggregate", f"how is one of {', '.join(AGGREGATES)}", status=400)
    keys = cells_of(by)
    cells = numbers(column) if how in ("sum", "mean") else cells_of(column)
    groups: dict[Cell, list[Any]] = {key: [] for key in keys if key is not None}
    for key, cell in zip(keys, cells):
        if key is not None and cell is not None:
            groups[key].append(cell)
    return [{"key": key, "value": AGGREGATES[how](groups[key])} for key in sorted(groups)]  # type: ignore[type-var]


@command(name="filter")
def filter_rows(column: str, op: str, value: Union[int, float, str], limit: int = 10) -> dict[str, Any]:
    """Count the rows whose cell compares so with a value, and show the first of them."""
    compare = OPERATORS.get(op)
    if compare is None:
        raise CommandError("no_such_operator", f"op is one of {' '.join(OPERATORS)}", status=400)
    cells = cells_of(column)
    if isinstance(value, str) != (loaded().types[column] == "text"):
        raise CommandError("wrong_type", f"{column} is a column of type {loaded().types[column]}", status=400)
    found = [n for n, cell in enumerate(cells) if cell is not None and compare(cell, value)]
    return {"matched": len(found), "rows": [row(n) for n in found[: at_least_0("limit", limit)]]}


@command
def top(column: str, n: int = 5) -> list[Row]:
    """The rows with the largest values in a column, largest first; the earlier row wins a tie."""
    cells = cells_of(column)
    present = [i for i, cell in enumerate(cells) if cell is not None]
    largest = heapq.nlargest(at_least_0("n", n), present, key=lambda i: cells[i])  # type: ignore[arg-type,return-value]
    return [row(i) for i in largest]


def read(file: Path) -> Table:
    """Read a CSV file with a header; a column is of numbers when all its values are."""
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        names = next(reader, [])
        lines = [line for line in reader if line]
    if not names or any(len(line) != len(names) for line in lines):
        raise CommandError("not_a_table", f"{file.name} has no header or rows of different lengths", status=422)
    texts = {name: [line[i] for line in lines] for i, name in enumerate(names)}
    types = {name: type_of(cells) for name, cells in texts.items()}
    convert: dict[str, Callable[[str], Cell]] = {"integer": int, "number": float, "text": str}
    parsed: dict[str, list[Cell]] = {
        name: [convert[types[name]](text) if text else None for text in cells] for name, cells in texts.items()
    }
    return Table(parsed, types, len(lines))


def type_of(texts: list[str]) -> str:
    """The narrowest type that holds every value there is."""
    present = [text for text in texts if text]
    for name, convert in (("integer", int), ("number", float)):
        try:
            if present and all(math.isfinite(convert(text)) for text in present):
                return name
        except ValueError:
            continue
    return "text"


def loaded() -> Table:
    """The table of this process."""
    if _table is None:
        raise CommandError("not_loaded", "call load first, in the same session", status=409)
    return _table


def cells_of(column: str) -> list[Cell]:
    """A column by name."""
    table = loaded()
    if column not in table.columns:
        known = ", ".join(table.columns)
        raise CommandError("no_such_column", f"there is no column {column!r}; there are {known}", status=404)
    return table.columns[column]


def numbers(column: str) -> list[Any]:
    """A column of numbers by name."""
    cells = cells_of(column)
    if loaded().types[column] == "text":
        raise CommandError("wrong_type", f"{column} is a column of type text", status=400)
    return cells


def row(n: int) -> Row:
    """A row as an object."""
    return {name: cells[n] for name, cells in loaded().columns.items()}


def at_least_0(name: str, n: int) -> int:
    """A count of rows."""
    if n < 0:
        raise CommandError("out_of_range", f"{name} is at least 0", status=400)
    return n


def total(cells: list[Any]) -> Union[int, float]:
    """The exact sum; rounded to 6 decimals when it is of floats, so that it does not depend on their order."""
    present: list[Union[int, float]] = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, int) for cell in present):
        return sum(present)
    return round(math.fsum(present), 6)


AGGREGATES: dict[str, Callable[[list[Any]], Cell]] = {
    "sum": total,
    "mean": lambda cells: round(math.fsum(cells) / len(cells), 6) if cells else None,
    "count": len,
    "min": lambda cells: min(cells, default=None),
    "max": lambda cells: max(cells, default=None),
}
