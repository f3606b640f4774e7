"""A bookshop, for the clients in this folder: a command of each kind that clients have to do with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Optional

from charmer import Bounds, CommandError, command

STOCK = {"Emma": 3, "Ulysses": 0, "Walden": 12}

basket: list[str] = []  # of the session: each has a process of its own


class Shipping(Enum):
    """How an order is sent."""

    STANDARD = "standard"
    EXPRESS = "express"


@dataclass
class Line:
    """One title of an order."""

    title: str
    copies: Annotated[int, Bounds(ge=1)] = 1


@dataclass
class Order:
    """What somebody wants to have."""

    lines: list[Line]
    placed: datetime
    shipping: Shipping = Shipping.STANDARD
    note: Optional[str] = None


@dataclass
class Parcel:
    """A part of an order, on its way."""

    number: int
    title: str
    copies: int
    shipping: Shipping
    arrives: datetime
    note: Optional[str]


@dataclass
class Stop:
    """Where a parcel has been."""

    place: str
    hours: int


@command
def greet(name: str, excited: bool = False) -> str:
    """Greet somebody."""
    return f"hello {name}" + ("!" if excited else "")


@command
def place_order(order: Order) -> list[Parcel]:
    """Order books: one parcel for each title.

    Args:
        order: The titles, and how to send them.
    """
    for line in order.lines:
        if line.copies > STOCK.get(line.title, 0):
            raise CommandError("sold_out", f"there are {STOCK.get(line.title, 0)} of {line.title}")
    arrives = order.placed + timedelta(days=1 if order.shipping is Shipping.EXPRESS else 4)
    return [
        Parcel(number, line.title, line.copies, order.shipping, arrives, order.note)
        for number, line in enumerate(order.lines, 1)
    ]


@command
def add_to_basket(title: str) -> list[str]:
    """Put a book into the basket of the session, and tell what is in it."""
    basket.append(title)
    return basket


@command
def track(number: int) -> Iterator[Stop]:
    """Follow a parcel from stop to stop."""
    for hours, place in enumerate(["warehouse", "station", "door"]):
        yield Stop(place, hours)


@command
def take_stock(seconds: float) -> int:
    """Count all books, which takes a while."""
    time.sleep(seconds)
    return sum(STOCK.values())
