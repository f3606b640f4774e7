"""Commands whose arguments and results are of all kinds of types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, Iterator, List, Optional

from charmer import command

if TYPE_CHECKING:  # as apps do with what is only for hints
    from datetime import datetime as Missing


@dataclass
class Event:
    at: datetime
    tags: Optional[Dict[str, int]] = None

    def __post_init__(self) -> None:
        if self.tags == {"fail": 1}:
            raise RuntimeError("in the constructor")
        if self.tags == {"refuse": 1}:
            raise ValueError("no such tag")


@command
def shift(event: Event, by: timedelta) -> Event:
    """Move an event.

    Args:
        event: What to move.
        by: How far.
    """
    event.at += by
    return event


@command
async def shift_async(event: Event, by: timedelta) -> Event:
    return shift(event, by)


@command(concurrency=2)
def shift_in_thread(event: Event, by: timedelta) -> Event:
    return shift(event, by)


@command
def each(events: List[Event]) -> Iterator[datetime]:
    for event in events:
        yield event.at


@command
async def each_async(events: List[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


@command(batch=True, max_batch=2, max_wait_ms=1)
def together(calls: List[Dict[str, Any]]) -> List[timedelta]:
    return [timedelta(seconds=call["seconds"]) for call in calls]


@command
def placed(a: datetime, b: int = 2, /, *, c: Optional[float] = None, **rest: timedelta) -> List[Any]:
    return [a, b, c, rest]


@command
def unknown(value: Missing, count: int = 1) -> Missing:
    return [value, count]  # type: ignore[return-value]


@command
def untyped(value, count=1):  # type: ignore[no-untyped-def]
    return {"value": value, "set": {count}, "event": Event(datetime(2026, 1, 31))}
