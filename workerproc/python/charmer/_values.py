"""Values of Python that are not JSON by themselves: what they are encoded as."""

from __future__ import annotations

import binascii
import dataclasses
import enum
import sys
from typing import Any, Callable, Dict, Final, List, Optional, Tuple

from ._classes import class_name, is_a
from ._types import Schema, Type

_MAX_DEFAULT: Final = 4096
_DAY: Final = 86_400
_bases_of: Final = vars(type)["__mro__"].__get__  # past what a metaclass puts in its place
_members_of: Final = vars(type)["__dict__"].__get__


def simpler(value: Any) -> object:
    """Return what a value is encoded as which JSON does not know, one level deep; for the encoder to call.

    Raises:
        TypeError: It is of a class that cannot be encoded.
        ValueError: It is a value that cannot be encoded.
    """
    if is_a(value, enum.Enum):
        return value.value
    if is_a(value, (bytes, bytearray, memoryview)):  # type: ignore[arg-type]
        return binascii.b2a_base64(value, newline=False).decode("ascii")
    if is_a(value, (set, frozenset)):  # type: ignore[arg-type]
        return _in_order(value)
    library = _of_library(value)
    if library is not None:
        return library(value)
    if _has(type(value), "__dataclass_fields__"):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if hasattr(value, f.name)}
    if _has(type(value), "__attrs_attrs__"):
        return {attrs_name(one): getattr(value, one.name) for one in type(value).__attrs_attrs__ if hasattr(value, one.name)}
    for base in _bases_of(type(value)):
        encode = _BY_NAME.get(_named(base))
        if encode is not None:
            return encode(value)
    raise TypeError(f"Object of type {class_name(type(value))} is not JSON serializable")


def attrs_name(attribute: Any) -> str:
    """Return what a field of attrs is called by its constructor, and in JSON: `size` for `_size`."""
    name: str = getattr(attribute, "alias", None) or attribute.name.lstrip("_")
    return name


def plain_value(value: Any) -> Any:
    """Return a value as it is when it has been encoded and decoded: of dicts with text as keys, lists, and so on.

    Raises:
        TypeError, ValueError, RecursionError: It cannot be encoded.
    """
    if is_a(value, enum.Enum):
        return plain_value(value.value)
    if value is None or value is True or value is False:
        return value
    if is_a(value, str):
        return str.__str__(value)
    if is_a(value, int):
        return int(value)
    if is_a(value, float):
        return float(value)
    if is_a(value, dict):
        members: Dict[Any, Any] = value
        return {key_text(key): plain_value(member) for key, member in members.items()}
    if is_a(value, (list, tuple)):  # type: ignore[arg-type]
        items: List[Any] = list(value)
        return [plain_value(item) for item in items]
    return plain_value(simpler(value))


def key_text(key: Any) -> str:
    """Return the name that a key of a dict has in JSON.

    Raises:
        TypeError: It cannot have one.
    """
    plain = key if is_a(key, (str, float)) and not is_a(key, enum.Enum) else plain_value(key)  # type: ignore[arg-type]
    if is_a(plain, str):
        return str.__str__(plain)
    if plain is None or is_a(plain, bool):
        return {None: "null", True: "true", False: "false"}[plain]
    if is_a(plain, int):
        return int.__repr__(plain)
    if is_a(plain, float):
        if plain - plain:
            raise ValueError(f"Out of range float values are not JSON compliant: {plain!r}")
        return float.__repr__(plain)
    raise TypeError(f"keys must be str, int, float, bool or None, not {class_name(type(key))}")


def default_schema(value: Any, type: Type) -> Schema:
    """Return the part of a schema that tells a default.

    It is empty if callers could not send that: JSON cannot carry it, it takes more than is good to read, or its type refuses it.
    """
    import json

    try:
        plain = plain_value(value)
        if len(json.dumps(plain, allow_nan=False)) > _MAX_DEFAULT:
            return {}
        if type.convert is not None:
            type.convert(plain)
    except Exception:
        return {}
    return {"default": plain}


def _in_order(items: Any) -> List[Any]:
    """Return the items of a set, sorted if they can be, so that equal sets are encoded equally."""
    listed = list(items)
    try:
        listed.sort()
    except Exception:
        pass
    return listed


def _of_library(value: Any) -> Optional[Callable[[Any], object]]:
    cls = type(value)
    if _has(cls, "__pydantic_serializer__"):
        if _has(cls, "model_dump"):
            return lambda model: model.model_dump(mode="json", by_alias=True)
        return lambda checked: cls.__pydantic_serializer__.to_python(checked, mode="json", by_alias=True)
    if _named(cls)[0] in ("pydantic", "pydantic_core") and "pydantic_core" in sys.modules:
        to_json: Any = sys.modules["pydantic_core"].to_jsonable_python  # type: ignore[attr-defined, unused-ignore]
        return to_json  # type: ignore[no-any-return]
    if _has(cls, "__struct_fields__") and "msgspec" in sys.modules:
        to_builtins: Any = sys.modules["msgspec"].to_builtins  # type: ignore[attr-defined, unused-ignore]
        return lambda struct: to_builtins(struct, str_keys=True, enc_hook=simpler)
    return None


def _has(cls: type, name: str) -> bool:
    return any(name in _members_of(base) for base in _bases_of(cls))


def _named(cls: type) -> Tuple[str, str]:
    """Return the package and the name of a class; of one with a metaclass neither, as that may be code of the app."""
    return (cls.__module__.partition(".")[0], cls.__name__) if type(cls) is type else ("", "")


def _moment(value: Any) -> str:
    text: str = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _duration(value: Any) -> str:
    whole = (value.days * _DAY + value.seconds) * 1_000_000 + value.microseconds
    seconds, micros = divmod(abs(whole), 1_000_000)
    days, rest = divmod(seconds, _DAY)
    hours, minutes = rest // 3600, rest % 3600 // 60
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    parts: List[Tuple[int, str]] = [(hours, "H"), (minutes, "M")]
    time = "".join(f"{count}{unit}" for count, unit in parts if count)
    if rest % 60 or micros:
        time += f"{rest % 60}{fraction}S"
    if not whole:
        return "PT0S"
    return f"{'-' if whole < 0 else ''}P{f'{days}D' if days else ''}{f'T{time}' if time else ''}"


def _number(value: Any) -> str:
    if not value.is_finite():
        raise ValueError(f"Out of range decimal values are not JSON compliant: {value!s}")
    return str(value)


_BY_NAME: Final[Dict[Tuple[str, str], Callable[[Any], object]]] = {
    ("datetime", "datetime"): _moment,
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): _moment,
    ("datetime", "timedelta"): _duration,
    ("uuid", "UUID"): str,
    ("decimal", "Decimal"): _number,
    ("pathlib", "PurePath"): str,
    ("collections", "deque"): list,
}
