"""Types that are one of several."""

from __future__ import annotations

import threading
from typing import Any, Dict, Final, List, Optional, Sequence, Tuple

from ._types import SUITED, Misfit, Schema, Type, name_of

_JSON: Final = (str, bool, int, float, list, dict, type(None))
_MAX_TOLD: Final = 5
_MAX_DETAIL: Final = 200
_OUTCOMES: Final = threading.local()
"""of: what became of values in the call whose arguments are being converted, or None."""


def union(members: Sequence[Type]) -> Type:
    """Return the type of what is of one of these types: of the first that it fits."""
    if len(members) == 1:
        return members[0]
    schemas: List[Schema] = []
    for member in members:
        if member.schema not in schemas:
            schemas.append(member.schema)
    free = any(not schema for schema in schemas)
    schema: Schema = {} if free else schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    if all(member.convert is None for member in members):
        return Type(schema)
    table = {cls: _candidates(cls, members) for cls in _JSON}
    wanted = " or ".join(dict.fromkeys(_label(member) for member in members))

    def convert(value: Any) -> Any:
        candidates = table.get(value.__class__, ())
        if not candidates:
            raise Misfit(f"must be {wanted}, not {name_of(value)}")
        if len(candidates) > 1:
            scores = [SUITED if one.suits is None else one.suits(value) for one in candidates]
            best = max(scores)
            candidates = [one for one, score in zip(candidates, scores) if score == best]
            if len(candidates) > 1:
                if best != SUITED:
                    raise Misfit("has not the members of " + " or ".join(map(_label, candidates)))
                return _first_fit(value, candidates)
        only = candidates[0].convert
        return value if only is None or candidates[0].exact is value.__class__ else only(value)

    return Type(schema, convert, frozenset(cls for cls in _JSON if table[cls]))


def _candidates(cls: type, members: Sequence[Type]) -> Sequence[Type]:
    """Return the types to try for values of a class. A number goes to its own kind if that is among them."""
    fit = [member for member in members if member.classes is None or cls in member.classes]
    if cls in (int, float):
        fit.sort(key=lambda member: member.exact is not cls)
    for number, member in enumerate(fit, 1):
        if member.convert is None or member.exact is cls:
            return fit[:number]
    return fit


def remember() -> None:
    """Have unions remember in this thread what became of each value: call it before the arguments of each call are converted.

    Where A and B may hold either again, each would be tried within each, which takes twice as long for every level.
    """
    _OUTCOMES.of = {}


def forget() -> None:
    """End that, and let go of the values."""
    _OUTCOMES.of = None


def _first_fit(value: Any, candidates: Sequence[Type]) -> Any:
    outcomes: Optional[Dict[object, Tuple[Any, Any, str]]] = getattr(_OUTCOMES, "of", None)
    if outcomes is None or value.__class__ not in (dict, list):
        return _try_each(value, candidates)
    key = (id(value), *map(id, candidates))
    known = outcomes.get(key)
    if known is None:
        try:
            known = value, _try_each(value, candidates), ""  # with the value, lest another get its id
        except Misfit as misfit:
            known = value, None, str(misfit)
        outcomes[key] = known
    if known[2]:
        raise Misfit(known[2])
    return known[1]


def _try_each(value: Any, candidates: Sequence[Type]) -> Any:
    told: Dict[str, None] = {}
    for candidate in candidates:
        try:
            return value if candidate.convert is None else candidate.convert(value)
        except Misfit as misfit:
            path, detail = misfit.problems[0]
            place = "".join(f"/{step}" for step in reversed(path))
            told[f"{place}: {detail}"[:_MAX_DETAIL] if place else detail] = None
    raise Misfit("fits none of what it may be: " + "; ".join(list(told)[:_MAX_TOLD]))


def _label(member: Type) -> str:
    schema = member.schema
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "type" not in schema:
        return "another value"
    kind = str(schema["type"])
    return kind if kind == "null" else f"an {kind}" if kind[0] in "aio" else f"a {kind}"
