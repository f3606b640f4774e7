"""The version of the runtime, and the version of the protocol that it speaks."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
PROTOCOL: Final = 1
