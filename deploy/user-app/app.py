"""An app that needs a package: dates as people write them."""

from __future__ import annotations

from charmer import CommandError, command
from dateutil import parser


@command
def parse(text: str) -> str:
    """Read a date and time in nearly any notation; the answer is ISO 8601."""
    try:
        return parser.parse(text).isoformat()
    except (ValueError, OverflowError) as problem:
        raise CommandError("not_a_date", str(problem), status=400) from problem
