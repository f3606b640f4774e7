"""Commands that print, log and play games with the streams."""

from __future__ import annotations

import io
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from typing import List

from charmer import command

print("imported")


@command
def say(text: str, end: str = "\n", stream: str = "stdout") -> None:
    print(text, end=end, file=getattr(sys, stream))


@command
def binary() -> None:
    sys.stdout.buffer.write(b"caf\xc3\xa9 \xff\r\n")


@command
def flood(size: int) -> None:
    for _ in range(size // 1000):
        sys.stdout.write("é" * 500)


@command
def log() -> None:
    logger = logging.getLogger("app.db")
    logger.debug("not shown")
    logger.info("opened\ntwice")
    logger.warning("slow %s", "query")
    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception("failed")
    logger.critical("lone \ud800")


@command
def warn() -> None:
    warnings.warn("old", stacklevel=1)


@command
def own_logging() -> None:
    logging.basicConfig(force=True, format="%(levelname)s|%(message)s", stream=sys.stderr)
    logging.getLogger("x").error("own")


@command
def game(what: str) -> str:
    if what == "none":
        setattr(sys, "stdout", None)
        setattr(sys, "stderr", None)
    elif what == "close":
        sys.stdout.close()
        sys.stderr.close()
    elif what == "wrap":
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
    elif what == "facts":
        stream = sys.stdout
        facts = (stream.fileno(), stream.isatty(), stream.encoding, stream.errors, stream.name, stream.writable())
        return " ".join(map(str, facts))
    elif what == "close descriptors":
        for fd in (0, 1, 2):
            os.close(fd)
        taken = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
        for fd in taken:
            os.set_inheritable(fd, True)
        return f"{taken}"
    return what


@command
def child() -> int:
    return subprocess.run(["sh", "-c", "echo from a child; echo to stderr >&2"], check=True).returncode


@command
def child_fds() -> str:
    """Say what a program holds that is started with no descriptor closed beforehand."""
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], check=True, stdout=subprocess.PIPE, close_fds=False)
    return listing.stdout.decode()


@command
def in_thread() -> None:
    thread = threading.Thread(target=lambda: print("from a thread"))
    thread.start()
    thread.join()


@command
def many_threads(threads: int, count: int) -> None:
    def work(number: int) -> None:
        for i in range(count):
            print(f"{number}:{i}")

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@command
def handler_prints(count: int) -> int:
    """Print from a signal handler that interrupts printing, over and over."""
    rung: List[int] = []
    numbers = itertools.count(1)  # gives each handler its own, also one that interrupts another

    def ring(*_: object) -> None:
        number = next(numbers)
        print(f"ring {number}")
        rung.append(number)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    number = 0
    while len(rung) < count:
        print(f"line {number} " + "x" * 3000)
        number += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return number


@command
def times_out_printing(seconds: float) -> None:
    """Print until an alarm raises, the way many a program bounds its time."""

    def ring(*_: object) -> None:
        raise TimeoutError("too late")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    while True:
        print("still at it")


@command
def prints_while_replying(size: int) -> str:
    """Leave a timer behind whose handler prints, and a reply that takes long to write."""

    def ring(*_: object) -> None:
        print("ring")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    return "x" * size


@command
def quiet() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
