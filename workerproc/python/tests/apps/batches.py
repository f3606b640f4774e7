"""Commands that run in batches, plain and async."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Dict, List

import charmer
from charmer import CommandError, command

Items = List[Dict[str, Any]]
GATE = threading.Event()


def answers(items: Items) -> List[object]:
    made: List[object] = []
    for item in items:
        if item.get("what") == "raise":
            made.append(ValueError("for this one"))
        elif item.get("what") == "code":
            made.append(CommandError("gone", "for that one", status=410))
        elif item.get("what") == "complex":
            made.append(1j)
        else:
            made.append([len(items), item])
    return made


@command(batch=True, max_batch=4, max_wait_ms=60_000)
def full(items: Items) -> List[object]:
    print(f"batch of {len(items)}")
    return answers(items)


@command(batch=True, max_batch=4, max_wait_ms=1)
async def soon(items: Items) -> List[object]:
    print(f"batch of {len(items)}")
    await asyncio.sleep(0)
    return answers(items)


@command(batch=True, max_batch=4, max_wait_ms=0)
def slow(items: Items) -> List[object]:
    print(f"batch of {len(items)}")
    while not GATE.is_set():
        time.sleep(0.001)
    return answers(items)


@command(batch=True, max_batch=4, max_wait_ms=0)
async def stuck(items: Items) -> List[object]:
    print("begun")
    try:
        await asyncio.Event().wait()
    finally:
        print("cancelled")
    return []


@command(batch=True, max_batch=2, max_wait_ms=60_000)
def hold(items: Items) -> List[object]:
    print("holding")
    while True:
        time.sleep(0.001)


@command
async def open_gate() -> None:
    GATE.set()


@command
async def echo(value: object = None) -> object:
    return value


@command(batch=True, max_batch=2, max_wait_ms=60_000)
def wrong(items: Items) -> Any:
    what = items[0]["what"]
    if what == "raise":
        raise KeyError("all of them")
    if what == "current":
        charmer.current()
    return {"short": [1], "none": None, "tuple": (1, 2)}[what]
