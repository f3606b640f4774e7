"""Types that are one string, number, boolean or null in JSON."""

from __future__ import annotations

import binascii
import re
from typing import Any, Callable, Dict, Final, Optional, Tuple

from ._types import NUMBER, STRING, Misfit, Schema, Type, refuse

_DECIMAL: Final = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_DATE: Final = r"\d{4}-\d\d-\d\d"
_TIME: Final = r"(\d\d:\d\d:\d\d)(?:\.(\d+))?"
_OFFSET: Final = r"([Zz]|[+-]\d\d:\d\d)"
_date: Final = re.compile(_DATE, re.ASCII).fullmatch
_datetime: Final = re.compile(rf"({_DATE})[Tt]{_TIME}{_OFFSET}", re.ASCII).fullmatch
_time: Final = re.compile(f"(){_TIME}{_OFFSET}?", re.ASCII).fullmatch
_uuid: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE).fullmatch
_decimal: Final = re.compile(_DECIMAL, re.ASCII).fullmatch
_duration: Final = re.compile(
    r"(-?)P(?:(\d+)W|(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?)?)", re.ASCII
).fullmatch


def plain(cls: type, out: bool) -> Optional[Type]:
    """Return the type of a class, or None if it is none of these.

    Classes of modules that the app may not have imported are told by their names.

    Args:
        cls: The class.
        out: Whether it is for results.
    """
    known = _BUILTIN.get(cls)
    if known is not None:
        return known()
    for base in cls.__mro__:
        make = _BY_NAME.get((base.__module__.partition(".")[0], base.__name__))
        if make is not None and (base is cls or base.__name__ == "PurePath"):
            return _decimal_text(cls) if out and make is _as_decimal else make(cls)
    return None


def convert_int(value: Any) -> int:
    """Take an integer, also one that is written 1.0."""
    if value.__class__ is int:
        return value  # type: ignore[no-any-return]
    if value.__class__ is float:
        if value.is_integer():
            return int(value)
        raise Misfit("must be an integer, not a number with a fraction")
    raise refuse(value, "an integer")


def _convert_float(value: Any) -> float:
    if value.__class__ is float:
        return value  # type: ignore[no-any-return]
    if value.__class__ is int:
        try:
            return float(value)
        except OverflowError:
            raise Misfit("is too large for a float") from None
    raise refuse(value, "a number")


def _exactly(cls: type, wanted: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if value.__class__ is cls:
            return value
        raise refuse(value, wanted)

    return convert


def _from_text(form: Callable[[str], Any], make: Callable[[str, Any], Any], wanted: str) -> Callable[[Any], Any]:
    """Make a conversion of strings: form matches those that are well-formed, make raises ValueError if it is no such value."""

    def convert(value: Any) -> Any:
        if value.__class__ is not str:
            raise refuse(value, f"{wanted}, as a string")
        found = form(value)
        if not found:
            raise Misfit(f"is not {wanted}")
        try:
            return make(value, found)
        except (ValueError, OverflowError) as exc:
            raise Misfit(f"is not {wanted}: {exc}") from None

    return convert


def _text(schema: Schema, convert: Callable[[Any], Any]) -> Type:
    return Type({"type": "string", **schema}, convert, STRING)


def _moment(found: Any) -> str:
    """Write a time as all versions of Python read it."""
    day, time, fraction, offset = found.groups()
    zone = "+00:00" if offset in ("Z", "z") else offset or ""
    return f"{day + 'T' if day else ''}{time}{'.' + (fraction + '00000')[:6] if fraction else ''}{zone}"


def _as_datetime(cls: Any) -> Type:
    wanted = "a date and time with an offset, such as 2026-01-31T12:00:00Z"
    return _text({"format": "date-time"}, _from_text(_datetime, lambda _, m: cls.fromisoformat(_moment(m)), wanted))


def _as_date(cls: Any) -> Type:
    wanted = "a date, such as 2026-01-31"
    return _text({"format": "date"}, _from_text(_date, lambda text, _: cls.fromisoformat(text), wanted))


def _as_time(cls: Any) -> Type:
    wanted = "a time, such as 12:00:00 or 12:00:00Z"
    return _text({"format": "time"}, _from_text(_time, lambda _, m: cls.fromisoformat(_moment(m)), wanted))


def _as_timedelta(cls: Any) -> Type:
    def make(text: str, found: Any) -> Any:
        if text[-1] in "PT":
            raise ValueError("it says no length")
        sign, weeks, days, hours, minutes, seconds, fraction = found.groups()
        span = cls(
            weeks=int(weeks or 0),
            days=int(days or 0),
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
            microseconds=int(((fraction or "") + "000000")[:6]),
        )
        return -span if sign else span

    return _text({"format": "duration"}, _from_text(_duration, make, "a duration in weeks, or days and less, such as P1DT12H"))


def _as_uuid(cls: Any) -> Type:
    wanted = "a UUID, such as 123e4567-e89b-12d3-a456-426614174000"
    return _text({"format": "uuid"}, _from_text(_uuid, lambda text, _: cls(text), wanted))


def _as_decimal(cls: Any) -> Type:
    text = _decimal_text(cls)
    from_text: Any = text.convert

    def convert(value: Any) -> Any:
        if value.__class__ is int:
            return cls(value)
        return cls(repr(value)) if value.__class__ is float else from_text(value)

    return Type({"anyOf": [text.schema, {"type": "number"}]}, convert, STRING | NUMBER)


def _decimal_text(cls: Any) -> Type:
    """Return the type of a Decimal in results, which is always text."""

    def make(text: str, _: Any) -> Any:
        try:
            return cls(text)
        except ArithmeticError:
            raise ValueError("its exponent is too large") from None

    return _text({"pattern": _DECIMAL}, _from_text(_decimal, make, "a decimal number"))


def _as_path(cls: Any) -> Type:
    return _text({}, _from_text(lambda text: "\0" not in text, lambda text, _: cls(text), "a path"))


def _as_bytes(cls: Any) -> Type:
    def make(text: str, _: Any) -> Any:
        data = binascii.a2b_base64(text)
        if binascii.b2a_base64(data, newline=False).decode() != text:
            raise ValueError("it has other characters, or no padding")
        return cls(data)

    return _text({"contentEncoding": "base64"}, _from_text(str.isascii, make, "base64"))


_BUILTIN: Final[Dict[type, Callable[[], Type]]] = {
    str: lambda: Type({"type": "string"}, _exactly(str, "a string"), STRING, str),
    bool: lambda: Type({"type": "boolean"}, _exactly(bool, "a boolean"), frozenset((bool,)), bool),
    int: lambda: Type({"type": "integer"}, convert_int, NUMBER, int),
    float: lambda: Type({"type": "number"}, _convert_float, NUMBER, float),
    type(None): lambda: Type({"type": "null"}, _exactly(type(None), "null"), frozenset((type(None),)), type(None)),
    bytes: lambda: _as_bytes(bytes),
    bytearray: lambda: _as_bytes(bytearray),
}

_BY_NAME: Final[Dict[Tuple[str, str], Callable[[Any], Type]]] = {
    ("datetime", "datetime"): _as_datetime,
    ("datetime", "date"): _as_date,
    ("datetime", "time"): _as_time,
    ("datetime", "timedelta"): _as_timedelta,
    ("uuid", "UUID"): _as_uuid,
    ("decimal", "Decimal"): _as_decimal,
    ("pathlib", "PurePath"): _as_path,
}
