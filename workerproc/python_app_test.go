package workerproc

// pythonApp is the app of the tests with a real Python: it echoes, and knows every way to get into trouble.
const pythonApp = `from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
import time
import warnings

from charmer import CommandError, command, current, on_session_start, on_stop

STARTED: list[str] = []


@command
def echo(**values: object) -> object:
    return values


@command(timeout=1.5, idempotent=True)
def described(name: str, excited: bool = False) -> str:
    """Greet somebody."""
    return name


@command
def run(source: str) -> None:
    exec(source, globals())


@command
def fail() -> None:
    raise ValueError("no such row")


@command
def choose() -> None:
    raise CommandError("not_in_catalogue", "not sold here", status=404)


@command
def bad() -> object:
    return {"rows": [1.0, float("nan")]}


@command
def big(size: int) -> str:
    return "x" * size


@command
def leave(code: object = 3) -> None:
    sys.exit(code)


@command
def leave_at_once(code: int) -> None:
    print("leaving")
    sys.stderr.write("no newline")
    os._exit(code)


@command
def signal_self(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


@command
def segfault() -> None:
    ctypes.string_at(0)


@command
def talk() -> str:
    print("from print")
    print("from stderr", file=sys.stderr)
    logging.getLogger("app.db").warning("from logging")
    warnings.warn("from warnings")
    return current().request_id


@command
def talk_raw() -> None:
    os.write(1, b"not a frame: \x00\x00\x00\x05\n")
    os.system("echo from a program; echo and its stderr >&2")


@command
def sleep_in_python() -> None:
    time.sleep(60)


@command
def sleep_in_c() -> None:
    ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the GIL


@command
def match_for_ever() -> None:
    re.match(r"(a*)*b", "a" * 64)


@command
def stick(mark: str) -> None:
    """Block in C with the GIL held and SIGTERM ignored, and say so by making the file mark."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.PyDLL(None).system(f"touch '{mark}'; sleep 60; sleep 60".encode())


@command
def breed() -> int:
    """Start a program that ignores SIGTERM and holds the worker's output."""
    script = "trap '' TERM; echo the program is up >&2; sleep 60; sleep 60"
    return subprocess.Popen(["sh", "-c", script]).pid


@command
def fork() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    return pid


@command
def session() -> object:
    call = current()
    return [call.session_id, call.session_state, STARTED]


@on_session_start
def begin(session_id: str) -> None:
    STARTED.append(session_id)


@on_stop
def stopped() -> None:
    print("stop hook ran")
`
