"""Plain commands that are to be cancelled, and generators."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import charmer
from charmer import Cancelled, command, current, on_session_start, shield

KEPT: List[str] = []


def loop() -> None:
    while True:
        pass


def loop_in_try() -> None:
    try:
        while True: pass  # noqa: E701 - on one line, with no instruction between
    finally:
        print("closed")


class Closing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        print("closed")


def loop_in_with() -> None:
    with Closing():
        while True: pass  # noqa: E701


def printing() -> None:
    while True:
        print("still at it " + "x" * 3000)


def read_socket() -> None:
    ours, theirs = socket.socketpair()
    theirs.fileno()
    ours.recv(1)


def wait_for_program() -> None:
    subprocess.run(["sleep", "600"], check=True)


def take_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def except_exception() -> None:
    while True:
        try:
            time.sleep(600)
        except Exception:
            pass


class Finalised:
    def __del__(self) -> None:
        print("finalising")
        while not current().cancelled:
            pass
        print("finalised")


def finaliser() -> None:
    Finalised()
    loop()


WAYS = {
    "loop": loop,
    "try": loop_in_try,
    "with": loop_in_with,
    "printing": printing,
    "sleep": lambda: time.sleep(600),
    "socket": read_socket,
    "program": wait_for_program,
    "lock": take_lock,
    "except": except_exception,
    "finaliser": finaliser,
}


@command
def hang(how: str) -> None:
    print("begun")
    WAYS[how]()


@command
def echo(value: object = None) -> object:
    return value


@command
def swallow() -> str:
    try:
        print("begun")
        time.sleep(600)
    except Cancelled:
        return f"swallowed, {current().cancelled}"
    return "slept"


@command
def raise_other() -> None:
    try:
        print("begun")
        time.sleep(600)
    except Cancelled:
        raise ValueError("instead") from None


@command
def raise_own() -> None:
    raise Cancelled


@command
def shielded(nested: bool = False) -> None:
    KEPT.clear()
    try:
        with shield():
            if nested:
                with shield():
                    wait_until_asked()
                KEPT.append("inner ended")
            else:
                wait_until_asked()
            KEPT.append("whole")
        KEPT.append("went on")
    finally:
        KEPT.append("finally")


def wait_until_asked() -> None:
    print("begun")
    while not current().cancelled:
        time.sleep(0.001)


@command
def kept() -> List[str]:
    return KEPT


@command
def leak_shield() -> None:
    shield().__enter__()


@command
def child_sleeps() -> int:
    """Fork a child that is sent the signal as well; return how it ended."""
    pid = os.fork()
    if pid == 0:
        print("child begun")
        os.kill(os.getpid(), signal.SIGRTMIN + 6)
        time.sleep(0.01)
        os._exit(0 if not current().cancelled else 1)
    status = os.waitpid(pid, 0)[1]
    return status


@command
def take_signal() -> None:
    signal.signal(signal.SIGRTMIN + 6, signal.SIG_IGN)


@command
def count(to: int, fail_at: Optional[int] = None, size: int = 0) -> Iterator[object]:
    """Yield numbers, or texts of a size."""
    KEPT.clear()
    try:
        for number in range(to):
            if number == fail_at:
                raise ValueError(f"no {number}")
            print(f"item {number}")
            yield "x" * size if size else number
    finally:
        KEPT.append("closed")
        print("closing")


@command
def bad_item() -> Iterator[object]:
    try:
        yield 1
        yield {"rows": [1, 2j]}
    finally:
        print("closing")


@command
def hang_in_generator() -> Iterator[int]:
    try:
        yield 1
        print("begun")
        time.sleep(600)
    finally:
        print("closing")


@command
def say(message: str = "", level: str = "info") -> Iterator[int]:
    charmer.progress(0.25)
    charmer.log(message, level)
    yield 1
    charmer.progress(message="nearly")
    charmer.progress(1, "done")


@command
def misuse() -> Dict[str, str]:
    anything: Any = charmer
    cases: Dict[str, Callable[[], object]] = {
        "nothing": anything.progress,
        "more": lambda: anything.progress(1.5),
        "nan": lambda: anything.progress(float("nan")),
        "text": lambda: anything.progress("half"),
        "message": lambda: anything.progress(message=3),
        "level": lambda: anything.log("x", "loud"),
        "no text": lambda: anything.log(None),
    }
    said: Dict[str, str] = {}
    for name, act in cases.items():
        try:
            act()
        except (TypeError, ValueError) as exc:
            said[name] = type(exc).__name__
    return said


@command
def modules() -> List[str]:
    return sorted(sys.modules)


@command
def talk_later() -> None:
    """Leave a thread behind that has the context of this call, and speaks after its end."""
    import contextvars

    context = contextvars.copy_context()

    def speak() -> None:
        gate.wait()
        charmer.log("too late")
        charmer.progress(0.5)
        print("printed")

    threading.Thread(target=context.run, args=(speak,)).start()


gate = threading.Event()


@command
def open_gate() -> None:
    gate.set()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()


@on_session_start
def greet(session_id: str) -> None:
    if session_id == "slow":
        print("begun")
        time.sleep(600)
