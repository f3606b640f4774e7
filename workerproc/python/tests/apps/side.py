"""Commands that run side by side: async, in threads, in batches; and plain ones among them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any, AsyncIterator, Dict, Iterator, List, Set

import charmer
from charmer import command, current, on_stop, shield

NAME: ContextVar[str] = ContextVar("name", default="none")
GATES: Dict[str, asyncio.Event] = {}
HELD: Dict[str, threading.Event] = {}
KEPT: List[str] = []
BACKGROUND: Set[Any] = set()


def gate(name: str) -> asyncio.Event:
    return GATES.setdefault(name, asyncio.Event())


def held(name: str) -> threading.Event:
    return HELD.setdefault(name, threading.Event())


@command
async def wait(name: str = "a") -> str:
    print(f"{name} waits")
    NAME.set(name)
    await gate(name).wait()
    logging.getLogger("side").info("%s goes on", name)
    return f"{NAME.get()} {current().request_id}"


@command
async def release(name: str = "a") -> None:
    gate(name).set()


@command
async def echo(value: object = None) -> object:
    return value


@command(concurrency=1)
async def alone(name: str = "a") -> List[str]:
    print("alone")
    await asyncio.sleep(0)
    return KEPT


@command
def plain(value: object = None) -> object:
    print("plain")
    return value


@command
def plain_hangs() -> None:
    print("begun")
    time.sleep(600)


@command
def runs_a_loop() -> int:
    async def inner() -> int:
        await asyncio.sleep(0)
        return 3

    return asyncio.run(inner())


@command
def plain_items(to: int) -> Iterator[int]:
    for number in range(to):
        print(f"item {number}")
        yield number


@command
async def blocks(how: str = "sleep") -> None:
    if how == "child":
        await asyncio.gather(asyncio.ensure_future(block()), asyncio.Event().wait())
    elif how == "print":
        print("begun")
        while True:
            print("x" * 3000)
    elif how == "loop":
        print("begun")
        while True:
            pass
    await block()


async def block() -> None:
    print("begun")
    time.sleep(600)


@command
async def cleans_up(how: str = "") -> str:
    try:
        print("begun")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("cleaning up")
        await asyncio.sleep(0)
        if how == "swallow":
            return "swallowed"
        if how == "raise":
            raise ValueError("instead") from None
        raise
    return ""


@command
async def cancels_itself() -> None:
    raise asyncio.CancelledError("own")


@command
async def shielded() -> None:
    KEPT.clear()
    try:
        with shield():
            print("begun")
            while not current().cancelled:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            KEPT.append("whole")
        KEPT.append("went on")
    finally:
        KEPT.append("finally")


@command
async def kept() -> List[str]:
    return KEPT


@command
async def items(to: int, name: str = "") -> AsyncIterator[int]:
    try:
        for number in range(to):
            print(f"item {number}")
            yield number
        if name:
            print("begun")
            await gate(name).wait()
    finally:
        await asyncio.sleep(0)
        print("closing")


@command
async def exits(code: int) -> None:
    print("exits")
    await gate("exit").wait()
    sys.exit(code)


@command
async def in_threads() -> List[str]:
    def work(name: str) -> str:
        print(f"thread of {name}")
        return current().request_id

    if sys.version_info >= (3, 9):
        return [await asyncio.to_thread(work, NAME.get())]
    return []


@command
async def leaves_a_task() -> None:
    async def later() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            print("task ended")

    BACKGROUND.add(asyncio.ensure_future(later()))
    await asyncio.sleep(0)


@command
async def half_a_line(name: str) -> None:
    print(f"{name} begins", end="")
    await gate("line").wait()
    print(f", {name} ends", end="")


@command
async def cancels_all() -> None:
    """Cancel every task there is, also those of calls that have yet to begin."""
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


@command
async def stops_the_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    try:
        asyncio.get_running_loop().close()
    except RuntimeError:
        return "not closed"
    return "closed"


@command
async def forks() -> int:
    pid = os.fork()
    if pid == 0:
        return 0
    return os.waitpid(pid, 0)[1]


@command
async def raises_later() -> None:
    def ring(*_: object) -> None:
        raise TimeoutError("rang")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


@command(concurrency=4)
def thread_waits(name: str) -> List[object]:
    print(f"{name} waits")
    held(name).wait()
    return [name, current().request_id, threading.current_thread() is threading.main_thread()]


@command(concurrency=4)
def thread_loops(how: str = "loop") -> str:
    try:
        print("begun")
        while True:
            if how == "print":
                print("x")
    except charmer.Cancelled:
        if how == "swallow":
            return "swallowed"
        raise


@command(concurrency=4)
def thread_shielded() -> None:
    KEPT.clear()
    try:
        with shield():
            print("begun")
            while not current().cancelled:
                pass
            KEPT.append("whole")
        KEPT.append("went on")
    finally:
        KEPT.append("finally")


@command(concurrency=4)
def thread_shields(rounds: int) -> List[int]:
    """Open shields over and over; count how often each was entered and how often it was left whole."""
    counts = [0, 0]
    print("begun")
    try:
        for _ in range(rounds):
            with shield():
                counts[0] += 1
                for _ in range(10):
                    pass
                counts[1] += 1
    except charmer.Cancelled:
        pass
    return counts


@command(concurrency=4)
def thread_echo(value: object = None) -> object:
    return value


@command(concurrency=4)
def thread_items(to: int) -> Iterator[int]:
    try:
        for number in range(to):
            print(f"item {number}")
            yield number
    finally:
        print("closing")


@command
async def let_go(name: str) -> None:
    held(name).set()


@command(concurrency=4)
def thread_forks() -> int:
    pid = os.fork()
    if pid == 0:
        return 0
    return os.waitpid(pid, 0)[1]


@on_stop
def stopped() -> None:
    print("on_stop")


