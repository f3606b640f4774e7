"""Commands with hints of many kinds, for a tool that makes requests from the contract."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, AsyncIterator, Dict, Iterator, List, Literal, Optional, Tuple, Union
from uuid import UUID

from charmer import Bounds, CommandError, command, progress


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Line:
    title: Annotated[str, Bounds(min_length=1, max_length=40)]
    copies: Annotated[int, Bounds(ge=1, le=99)] = 1


@dataclass
class Order:
    lines: List[Line]
    size: Size = Size.SMALL
    note: Optional[str] = None
    tags: Dict[str, int] = field(default_factory=dict)


@command
def greet(name: str, excited: bool = False) -> str:
    """Greet somebody."""
    return f"hello {name}" + ("!" if excited else "")


@command
def add(a: Annotated[int, Bounds(ge=-1000, le=1000)], b: Annotated[int, Bounds(ge=0, multiple_of=5)] = 0) -> int:
    """Add two numbers."""
    return a + b


@command
def post(how: Literal["air", "sea"], on: date, at: Optional[datetime] = None) -> str:
    return f"{how} {on} {at}"


@command
def later(by: timedelta, of: datetime) -> datetime:
    try:
        return of + by
    except OverflowError:
        raise CommandError("too_late", "there is no such date") from None


@command
def order(order: Order, id: Optional[UUID] = None) -> Order:
    return order


@command
def price(of: Decimal, each: float = 1.0) -> float:
    return each if of else 0.0


@command
def join(parts: List[Union[int, str]], pair: Tuple[int, str], raw: bytes = b"") -> List[str]:
    return [str(part) for part in parts] + [str(pair[0]), pair[1]]


@command
def anything(value: Any = None, **others: int) -> Any:
    return {"value": value, **others}


@command
def untyped(x, y=1):
    return [x, y]


@command
def count_to(n: Annotated[int, Bounds(ge=0, le=5)]) -> Iterator[int]:
    """Count."""
    for i in range(n):
        progress(i / 5)
        yield i


@command
async def ticks(n: Annotated[int, Bounds(ge=0, le=3)] = 1) -> AsyncIterator[str]:
    for i in range(n):
        await asyncio.sleep(0)
        yield str(i)


@command
async def nap(ms: Annotated[float, Bounds(ge=0, le=5)] = 0) -> None:
    await asyncio.sleep(ms / 1000)


@command
def sold_out(title: Annotated[str, Bounds(pattern="^[A-Z][a-z]{0,9}$")]) -> None:
    raise CommandError("sold_out", f"there are 0 of {title}", status=409)


@command(isolation="fresh")
def alone(x: int) -> int:
    return x
