"""Hints that schemas tell nothing of: they cost no start and no call, but `charmer check` names them."""

from __future__ import annotations

from typing import Dict, Final, Iterable, List, Optional

from ._classes import class_name, is_a
from ._hints import text_of
from ._text import cut_end

MOST: Final = 16
"""How many of a command are told."""

_MAX_BYTES: Final = 200


def undescribed(hint: object, why: object = None) -> Dict[str, str]:
    """Tell of a hint, and why there is nothing to say of it: what was raised, a text, or None for a type not known. Never raises."""
    told = {"hint": cut_end(_name(hint), _MAX_BYTES)}
    if why is not None:
        told["why"] = cut_end(_reason(why), _MAX_BYTES)
    return told


def placed(found: Iterable[Dict[str, str]], parameter: Optional[str]) -> List[Dict[str, str]]:
    """Say that hints belong to a parameter, or to the result, which is None."""
    return [{**one, **({} if parameter is None else {"parameter": parameter})} for one in found]


def _name(hint: object) -> str:
    try:
        text = text_of(hint)
        if text is None:
            text = class_name(hint) if is_a(hint, type) else repr(hint)
        return str.__str__(text)
    except BaseException:  # code of the app, by way of its __repr__
        return class_name(type(hint))


def _reason(why: object) -> str:
    if not is_a(why, BaseException):
        return str.__str__(why) if is_a(why, str) else ""
    try:
        return f"{class_name(type(why))}: {why}"
    except BaseException:
        return class_name(type(why))
