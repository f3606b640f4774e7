"""Calls the commands of app.py with the client that openapi-python-client made of the service's openapi.json.

Ends with 1 if anything is not as it should be.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from bookshop import Client
from bookshop.api.commands import add_to_basket, greet, place_order, take_stock
from bookshop.api.leases import checkout, release_lease
from bookshop.api.sessions import end_session
from bookshop.models import AddToBasketArgs, CheckoutRequest, CheckoutRequestType, GreetArgs, Line, Order, PlaceOrderArgs, Shipping, TakeStockArgs

from calls import Failure, Patient, result


def main(url: str) -> None:
    shop = Client(base_url=url)
    say_hello(shop)
    order(shop)
    refuse_arguments(shop)
    raise_error(shop)
    keep_basket(shop)
    run_out_of_time(shop)
    wait_for_a_worker(url, shop)


def say_hello(shop: Client) -> None:
    reply = greet.sync(client=shop, body=GreetArgs(name="Ada"))
    greeting = result(reply)
    see("greet", greeting, "hello Ada")


def order(shop: Client) -> None:
    wanted = Order(
        lines=[Line("Emma", copies=2), Line("Walden")],
        placed=datetime(2026, 1, 31, 12, tzinfo=timezone.utc),
        shipping=Shipping.EXPRESS,
    )
    parcels = [
        f"{parcel.copies} of {parcel.title} by {parcel.shipping.value} for {parcel.arrives:%Y-%m-%d %H:%M}"
        for parcel in result(place_order.sync(client=shop, body=PlaceOrderArgs(wanted)))
    ]
    see("parcels", ", ".join(parcels), "2 of Emma by express for 2026-02-01 12:00, 1 of Walden by express for 2026-02-01 12:00")


def refuse_arguments(shop: Client) -> None:
    """Send what does not fit. The service says where, and Python has not seen it."""
    none = Order(lines=[Line("Emma", copies=0)], placed=datetime.now(timezone.utc))
    try:
        result(place_order.sync(client=shop, body=PlaceOrderArgs(none)))
    except Failure as failure:
        problem, first = failure.problem, failure.problem.errors[0]
        see("refused", f"{problem.status} {problem.code}, {first.pointer} {first.detail}", "400 invalid_args, /order/lines/0/copies must be at least 1")
    else:
        raise AssertionError("an order of no copies was taken")


def raise_error(shop: Client) -> None:
    """Have the command raise a CommandError."""
    sold_out = Order(lines=[Line("Ulysses")], placed=datetime.now(timezone.utc))
    try:
        result(place_order.sync(client=shop, body=PlaceOrderArgs(sold_out)))
    except Failure as failure:
        problem = failure.problem
        see("raised", f"{problem.status} {problem.code}, {problem.detail}", "422 sold_out, there are 0 of Ulysses")
    else:
        raise AssertionError("an order of what is sold out was taken")


def keep_basket(shop: Client) -> None:
    """Make calls in a session: a Python process of its own, which remembers."""

    def add(title: str) -> str:
        return ", ".join(result(add_to_basket.sync(client=shop, session_id="python", body=AddToBasketArgs(title))))

    see("basket", add("Emma"), "Emma")
    see("basket", add("Walden"), "Emma, Walden")
    result(end_session.sync("python", client=shop))
    see("new basket", add("Ulysses"), "Ulysses")
    result(end_session.sync("python", client=shop))


def run_out_of_time(shop: Client) -> None:
    """Bound a call. It had begun, so that repeating it is the caller's decision."""
    try:
        result(take_stock.sync(client=shop, timeout_ms=100, body=TakeStockArgs(seconds=60)))
    except Failure as failure:
        problem = failure.problem
        see("too slow", f"{problem.status} {problem.code}, started: {problem.started}", "504 execution_timeout, started: True")
    else:
        raise AssertionError("a minute has passed within 100 ms")


def wait_for_a_worker(url: str, shop: Client) -> None:
    """Call while the service has no worker free, because a lease has its only one until the first refusal."""
    lease = result(checkout.sync(client=shop, body=CheckoutRequest(CheckoutRequestType.ANONYMOUS)))
    refusals: list[float] = []

    def refused(seconds: float) -> None:
        refusals.append(seconds)
        if len(refusals) == 1:
            result(release_lease.sync(lease.lease_id, client=shop))

    waiting = Client(base_url=url, httpx_args={"transport": Patient(attempts=5, refused=refused)})
    soon = 100  # else the service looks for a worker for some seconds
    greeting = result(greet.sync(client=waiting, checkout_timeout_ms=soon, body=GreetArgs(name="Bob")))
    see("busy", f"refused: {len(refusals) > 0}, then {greeting}", "refused: True, then hello Bob")


def see(what: str, got: str, want: str) -> None:
    """Print what came of a step, which must be what is wanted."""
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")
    print(f"{what}: {got}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080")
