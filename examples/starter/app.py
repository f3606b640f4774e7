"""A small shop, to begin with: put functions of your own in its place.

What is marked with @command can be called over HTTP; type hints and docstrings say what it takes and gives. `charmer check app.py`
shows how callers see it.

This file is imported once, before the first call comes, and workers are forks of the process that did it: load models and data here,
at the top. What each worker must have for itself, such as a connection, belongs in a function with @on_start.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Final, Iterator

from charmer import Bounds, CommandError, command, on_session_start, progress

LOG: Final = logging.getLogger("shop")  # its lines are in charmer's log, with worker, command and request id
PRICES: Final = {"apple": Decimal("0.40"), "bread": Decimal("2.80"), "cheese": Decimal("5.25")}


# A dataclass is an object in JSON: {"product": "apple", "quantity": 3}. What does not fit is refused, with 400 and the
# place, before any of the code here runs.
@dataclass(frozen=True)
class Item:
    """Some of one product."""

    product: str
    quantity: Annotated[int, Bounds(ge=1, le=100)] = 1


@dataclass
class Basket:
    """What somebody is about to buy."""

    owner: str = ""
    items: list[Item] = field(default_factory=list)


# idempotent says that running it twice does no more than running it once.
@command(idempotent=True)
def price(item: Item, percent_off: Annotated[int, Bounds(ge=0, le=100)] = 0) -> Decimal:
    """Say what something costs.

    Args:
        item: What, and how many of it.
        percent_off: How much of the price to take off.
    """
    if item.product not in PRICES:
        # The caller gets this status, and the code in the body. Any other exception is a 422 with its type and message.
        raise CommandError("no_such_product", f"there is no {item.product!r}", status=404)
    return (PRICES[item.product] * item.quantity * (100 - percent_off) / 100).quantize(Decimal("0.01"))


# A generator gives one item at a time to those who ask for a stream, and to others one array.
@command(idempotent=True)
def receipt(items: list[Item]) -> Iterator[str]:
    """Write a receipt: a line for each item, and one for the total."""
    total = Decimal("0.00")
    for number, item in enumerate(items, 1):
        cost = price(item)  # a command is still the function that it was
        total += cost
        progress(number / len(items))
        yield f"{item.quantity} x {item.product}: {cost}"
    yield f"total: {total}"


# A session is a process of its own, so what it keeps in a global is its own, too.
basket = Basket()


@on_session_start
def open_basket(session_id: str) -> None:
    """Run before the first call of a session: the place to load what the session needs."""
    global basket
    basket = Basket(owner=session_id)
    LOG.info("opened a basket for %s", session_id)


@command
def put(item: Item) -> Basket:
    """Put something into the basket of this session, and return the basket."""
    if not basket.owner:
        raise CommandError("no_session", "send a session_id: each session has a basket", status=400)
    price(item)  # raises if there is no such product
    basket.items.append(item)
    return basket
