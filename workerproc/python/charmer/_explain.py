"""What is wrong with a result that JSON cannot carry, and where in it."""

from __future__ import annotations

import json
import math
import re
from typing import Dict, Final, Iterator, List, Optional, Tuple, cast

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_PATH: Final = 300


def explain(value: object, error: BaseException) -> str:
    """Say why a result could not be encoded, and where in it.

    Args:
        value: The result.
        error: What encoding it raised.

    Returns:
        A sentence such as "result.rows[3].score is nan, which JSON cannot carry".
    """
    depth = 0
    path: List[str] = []
    inside: Dict[int, int] = {}  # id of a container on the path: its depth
    iterators: List[Tuple[int, Iterator[Tuple[str, object]]]] = []
    step, item = "result", value
    while True:
        path.append(step)
        fault = _fault(item)
        if id(item) in inside:
            fault = f"refers back to {_join(path[: inside[id(item)] + 1])}"
        if fault:
            return f"{_join(path)} {fault}, which JSON cannot carry"
        if isinstance(item, (dict, list, tuple)):
            container = cast("object", item)
            inside[id(container)] = len(path) - 1
            iterators.append((id(container), _items(container)))
            depth = max(depth, len(iterators))
        else:
            path.pop()
        while iterators:
            following = next(iterators[-1][1], None)
            if following is not None:
                step, item = following
                break
            path.pop()
            del inside[iterators.pop()[0]]
        else:
            break
    if isinstance(error, RecursionError):
        return f"result is nested {depth} levels deep, which is more than JSON encoding takes"
    return f"result cannot be encoded as JSON: {type(error).__name__}: {error}"


def _fault(item: object) -> Optional[str]:
    """Say what is wrong with a value or with the keys of a dict, not with what it contains."""
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, str):
        return _surrogate(item) and f"has {_surrogate(item)}"
    if isinstance(item, int):
        return _digits(item) and f"is {_digits(item)}"
    if isinstance(item, float):
        return None if math.isfinite(item) else f"is {float.__repr__(item)}"
    if isinstance(item, (list, tuple)):
        return None
    if not isinstance(item, dict):
        return f"is {_a(item)}"
    for key in cast("Dict[object, object]", item):
        if isinstance(key, str):
            if _surrogate(key):
                return f"has a key with {_surrogate(key)}"
        elif isinstance(key, (int, float)):
            if _fault(key):
                return f"has a key that {_fault(key)}"
        elif key is not None:
            return f"has a key that is {_a(key)}"
    return None


def _surrogate(text: str) -> Optional[str]:
    found = _SURROGATE.search(text)
    return found and f"a lone surrogate (\\u{ord(found[0]):04x} at {found.start()})"


def _digits(number: int) -> Optional[str]:
    try:
        int.__repr__(number)
    except ValueError:
        return f"an int of {number.bit_length()} bits"
    return None


def _a(item: object) -> str:
    kind = type(item)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _items(container: object) -> Iterator[Tuple[str, object]]:
    if isinstance(container, dict):
        for key, item in cast("Dict[object, object]", container).items():
            text = key if isinstance(key, str) else str(key)
            yield f".{text}" if text.isidentifier() else f"[{_quote(text)}]", item
    else:
        for index, item in enumerate(cast("List[object]", container)):
            yield f"[{index}]", item


def _quote(text: str) -> str:
    return json.dumps(text if len(text) <= 40 else text[:40] + "…", ensure_ascii=False)


def _join(path: List[str]) -> str:
    text = "".join(path)
    return text if len(text) <= _MAX_PATH else f"{text[: _MAX_PATH // 2]}…{text[-_MAX_PATH // 2 :]}"
