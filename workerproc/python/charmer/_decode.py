"""JSON in: the body of a CALL frame."""

from __future__ import annotations

import gc
from json import JSONDecodeError, JSONDecoder
from typing import Any, Callable, Final, NoReturn, Tuple

from ._quick import decode_quickly


def decode(text: str) -> Tuple[Any, bool]:
    """Decode one JSON text.

    Returns:
        The value, and whether it holds numbers that a float cannot: they are infinite in it.

    Raises:
        JSONDecodeError: It is not JSON. NaN and Infinity are not.
        ValueError, RecursionError, MemoryError: It is JSON, but more than this interpreter takes.
    """
    if len(text) < _LARGE or not _collects():
        return _decode_any(text)
    # What comes of it is in use, and has no cycles: to look for garbage in it again and again doubles the time.
    _pause()
    try:
        return _decode_any(text)
    finally:
        _go_on()


def _decode_any(text: str) -> Tuple[Any, bool]:
    if decode_quickly is not None:
        try:
            return decode_quickly(text), False
        except Exception:  # json may take it, or says better why it does not
            pass
    try:
        return _decode(_strict, text), False
    except OverflowError:
        return _decode(_lax, text), True


def _decode(raw: Callable[[str], Tuple[Any, int]], text: str) -> Any:
    if text[:1] in _WHITE or text[-1:] in _WHITE:
        text = text.strip(_WHITE)
    value, end = raw(text)
    if end != len(text):
        raise JSONDecodeError("Extra data", text, end)
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number - number:  # nan if it is infinite, else 0
        raise OverflowError
    return number


def _no_constant(name: str) -> NoReturn:
    raise JSONDecodeError(f"{name} is not JSON", name, 0)


_LARGE: Final = 64 * 1024
"""Characters of a text worth a pause of the garbage collector."""
_WHITE: Final = " \t\n\r"

# Bound here, out of reach of an app that patches the module or the class.
_collects: Final = gc.isenabled
_pause: Final = gc.disable
_go_on: Final = gc.enable
_strict: Final = JSONDecoder(parse_float=_finite, parse_constant=_no_constant).raw_decode
_lax: Final = JSONDecoder(parse_constant=_no_constant).raw_decode
