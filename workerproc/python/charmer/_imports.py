"""What an app's import takes: which packages, how long, how much memory."""

from __future__ import annotations

import os
import sys
import time
from typing import Callable, Final, FrozenSet, List, Optional, cast

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STANDARD: Final[FrozenSet[str]] = getattr(sys, "stdlib_module_names", frozenset())  # since Python 3.10


def resident_bytes() -> int:
    """Return the memory of this process that is in use, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


class ImportWatch:
    """Tells which package is being imported, with the time and the memory taken before it; for the slow ones to be seen.

    As a finder it is asked first for each module, and finds none.
    """

    def __init__(self, report: Callable[[str, float, int], None]) -> None:
        """Args: report: Called with a package's name, the milliseconds since the beginning, and resident bytes."""
        self._report = report
        self._began = time.monotonic()
        self._seen: List[str] = []

    def __enter__(self) -> ImportWatch:
        _finders().insert(0, self)
        return self

    def __exit__(self, *exc: object) -> None:
        if self in _finders():
            _finders().remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> Optional[object]:
        if "." not in name and name not in _STANDARD and name not in self._seen and not name.startswith("_"):
            self._seen.append(name)
            self._report(name, self.elapsed_ms(), resident_bytes())
        return None

    def elapsed_ms(self) -> float:
        """Return the milliseconds since the beginning."""
        return round((time.monotonic() - self._began) * 1000, 1)


def _finders() -> List[object]:
    return cast("List[object]", sys.meta_path)
