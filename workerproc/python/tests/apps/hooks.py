"""An app with every hook."""

from __future__ import annotations

import atexit
import threading
from typing import List

import charmer
from charmer import command, on_session_end, on_session_start, on_start, on_stop

EVENTS: List[str] = []


@on_start
def warm_up() -> None:
    EVENTS.append("start")
    print("warming up")


@on_stop
def breaks() -> None:
    raise SystemExit("stop hook gives up")


@on_stop
def say_bye() -> None:
    print("bye", end="")


@on_session_start
def session_starts(session_id: str) -> None:
    EVENTS.append(f"session_start {session_id} {charmer.current().session_state} {charmer.current().command}")


@on_session_start
def session_starts_silently() -> None:
    EVENTS.append("session_start")


@on_session_end
def session_ends() -> None:
    raise ValueError("cannot end")


@command(timeout=1.5, idempotent=True)
def events() -> List[str]:
    """Give back what has happened."""
    return EVENTS


@command(name="linger.on")
def linger(release: str = "") -> None:
    """Leave a thread that the interpreter waits for at exit."""
    threading.Thread(target=lambda: print("the thread ends")).start()


atexit.register(print, "atexit ran")
