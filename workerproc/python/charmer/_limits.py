"""The limits that a process sets for itself. Source: docs/protocol.md, section 1."""

from __future__ import annotations

import json
import resource
from typing import Dict, Final, Mapping, Tuple

_MEMORY: Final = "RLIMIT_DATA"
_set: Final = resource.setrlimit

Limits = Dict[str, Tuple[int, int]]
"""Soft and hard limit by their name in the resource module."""


def read_limits(environ: Mapping[str, str]) -> Limits:
    """Read CHARMER_WORKER_LIMITS, which may be absent, before the app can change it.

    Raises:
        ValueError: It does not have the form of Limits.
    """
    return {name: (soft, hard) for name, (soft, hard) in json.loads(environ.get("CHARMER_WORKER_LIMITS", "{}")).items()}


def limit_worker(limits: Limits) -> None:
    """Set the limits of this process, which its children inherit. To lower them needs no privilege.

    Raises:
        ValueError: A limit is above the hard one that is in force.
    """
    for name, pair in limits.items():
        _set(getattr(resource, name), pair)


def limit_zygote(limits: Limits) -> None:
    """Set the limit of memory alone. What the zygote has its workers have: they would start beyond their limit."""
    limit_worker({name: pair for name, pair in limits.items() if name == _MEMORY})
