"""Whether this process can be forked: the threads that an import leaves behind, and what else a fork would break."""

from __future__ import annotations

import os
import sys
import time
from typing import Callable, Dict, Final, List

_TASKS: Final = "/proc/self/task"
_SAFE_TO_LOSE: Final = frozenset(
    (
        # Gives memory back to the system for jemalloc (PyArrow, LightGBM by way of it). jemalloc takes its locks around a fork, and
        # does that work in the calling threads of the child instead.
        "jemalloc_bg_thd",
    )
)
"""Names of native threads that hold no lock at a fork and do nothing that a worker would miss."""

_PATIENCE: Final = 10.0  # LiteLLM, without a way to the Internet, tries for 5 to 8 s more to download its prices
_PAUSE: Final = 0.02
_listdir: Final = os.listdir


def refusal(allow_threads: bool) -> str:
    """Say why this process cannot be forked safely.

    Args:
        allow_threads: The user takes it upon himself that the threads which are left may be lost.

    Returns:
        One sentence, or an empty string if it can be forked.
    """
    if allow_threads or len(_listdir(_TASKS)) == 1:
        return ""
    names = sorted(_others())
    if not names:
        return ""
    return f"the import of the app left {len(names)} threads, whose locks a fork would inherit: {', '.join(names)}"


def await_others(report: Callable[[str], None]) -> None:
    """Wait for threads that the import left, for some end soon by themselves; at most 10 s, for others never do.

    Args:
        report: Told once which threads it waits for.
    """
    until = time.monotonic() + _PATIENCE
    reported = False
    while names := sorted(_others()):
        if not reported:
            report(f"wait for threads: {', '.join(names)}")
            reported = True
        if time.monotonic() > until:
            return
        time.sleep(_PAUSE)


def cuda_refusal() -> str:
    """Say whether CUDA has been initialised, whose state no fork survives. Looked at once, after the import."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            if not any("libcuda" in line for line in maps):
                return ""
        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in _listdir("/proc/self/fd")[:-1]]
    except OSError:
        return ""
    if any(link.startswith("/dev/nvidia") for link in links):
        return "the import of the app initialised CUDA, which does not survive a fork"
    return ""


def _others() -> List[str]:
    """Name the threads besides this one that would be missed."""
    python = _python_names()
    names: List[str] = []
    for task in _listdir(_TASKS):
        number = int(task)
        if number == os.getpid():
            continue
        name = python.get(number) or _native_name(task)
        if name:
            names.append(name)
    return names


def _python_names() -> Dict[int, str]:
    threading = sys.modules["threading"]
    return {thread.native_id: f"{thread.name!r}{_target(thread)}" for thread in threading.enumerate() if thread.native_id is not None}


def _target(thread: object) -> str:
    """Say what a Python thread runs, for its user to find who started it."""
    target = getattr(thread, "_target", None) or type(thread).run  # type: ignore[attr-defined]
    name = getattr(target, "__qualname__", "")
    return f" (runs {getattr(target, '__module__', '?')}.{name})" if name else ""


def _native_name(task: str) -> str:
    """Return the name of a native thread, empty if it can be lost, or has just ended."""
    try:
        with open(f"{_TASKS}/{task}/comm", encoding="utf-8", errors="replace") as comm:
            name = comm.read().strip()
    except OSError:
        return ""
    return "" if name in _SAFE_TO_LOSE else f"{name!r} (native)"
