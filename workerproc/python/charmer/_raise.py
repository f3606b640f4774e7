"""Raising out of a signal handler, where an interpreter would raise in the wrong place.

CPython 3.11 and 3.12 take what a handler raises between two rounds of a loop to come from the instruction before the loop. That
can lie outside of the `try` or `with` whose first statement the loop is, as in `try: while True: pass` on two lines: no
`finally` and no `__exit__` would run.
Source: python/cpython, Python/ceval.c, handle_eval_breaker after a jump.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any, Callable, Final, FrozenSet, Optional, Type


def raise_in(frame: Optional[FrameType], kind: Type[BaseException]) -> None:
    """Raise in the code that a signal has interrupted: at once, or before its next instruction.

    Does nothing if that is on its way already: the handler of another signal was interrupted by the one which saw to it.

    Args:
        frame: Where the handler was called; None if this is no handler.
        kind: What to raise, without arguments.
    """
    tracing = sys.gettrace()
    if tracing is _trace_calls:
        return
    if not _JUMPS or tracing is not None:
        raise kind
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back  # the handler itself was interrupted
    if frame is None or frame.f_code.co_code[frame.f_lasti] not in _JUMPS:
        raise kind

    def trace(here: FrameType, event: str, _arg: Any) -> Callable[..., object]:
        if event == "exception":  # of a signal handler of the app; what is raised here would come without this frame
            return trace
        sys.settrace(None)
        here.f_trace, here.f_trace_opcodes = None, False
        raise kind

    frame.f_trace_opcodes = True
    frame.f_trace = trace
    sys.settrace(_trace_calls)


def _trace_calls(_frame: FrameType, _event: str, _arg: Any) -> None:
    """Trace no function that is called meanwhile."""


def _back_jumps() -> FrozenSet[int]:
    if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 12):
        return frozenset()
    from opcode import opmap

    return frozenset(number for name, number in opmap.items() if "JUMP_BACKWARD" in name)


_HERE: Final = os.path.dirname(__file__) + os.sep
_JUMPS: Final = _back_jumps()
