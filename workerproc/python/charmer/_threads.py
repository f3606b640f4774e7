"""Whether this process can be forked: the threads that an import leaves behind, and what else a fork would break."""

from __future__ import annotations

import os
import sys
from typing import Dict, Final, List

_TASKS: Final = "/proc/self/task"
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
        names.append(python.get(number) or _native_name(task))
    return names


def _python_names() -> Dict[int, str]:
    threading = sys.modules["threading"]
    return {thread.native_id: f"{thread.name!r}" for thread in threading.enumerate() if thread.native_id is not None}


def _native_name(task: str) -> str:
    try:
        with open(f"{_TASKS}/{task}/comm", encoding="utf-8", errors="replace") as comm:
            return f"{comm.read().strip()!r} (native)"
    except OSError:  # it has just ended
        return "one that has ended since"
