"""charmer: Python functions as commands that any program can call over HTTP.

    from charmer import command

    @command
    def greet(name: str) -> str:
        return f"hello {name}"

Save as app.py and run `charmer serve app.py`.
"""

from __future__ import annotations

from ._bounds import Bounds
from ._call import Call, Shield, current, log, progress, shield
from ._cancel import Cancelled
from ._registry import (
    CommandError,
    command,
    on_session_end,
    on_session_start,
    on_start,
    on_stop,
)
from ._version import VERSION as __version__

__all__ = [
    "Bounds",
    "Call",
    "Cancelled",
    "CommandError",
    "Shield",
    "__version__",
    "command",
    "current",
    "log",
    "on_session_end",
    "on_session_start",
    "on_start",
    "on_stop",
    "progress",
    "shield",
]
