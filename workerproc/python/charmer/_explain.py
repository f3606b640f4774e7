"""What is wrong with a result that JSON cannot carry, and where in it."""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from math import isfinite
from typing import Dict, Final, Iterator, List, Optional, Set, Tuple

from ._classes import class_name, is_a
from ._failure import headline
from ._text import cut_end
from ._values import key_text, simpler

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_PATH: Final = 300
_KNOWN: Final = (str, int, float, dict, list, tuple)


def explain(value: object, error: BaseException, root: str = "result") -> str:
    """Say why a result could not be encoded, and where in it.

    Lets nothing pass that is an Exception, whatever the result does when looked at; an exit which a signal handler
    asks for meanwhile is none.

    Args:
        value: The result.
        error: What encoding it raised.
        root: What it is called in the sentence.

    Returns:
        A sentence such as "result.rows[3].score is nan, which JSON cannot carry".
    """
    try:
        found = _search(value, error, root)
    except Exception:
        found = None
    return found or f"{root} cannot be encoded as JSON: {headline(error)}"


def _search(value: object, error: BaseException, root: str) -> Optional[str]:
    depth = 0
    path: List[str] = []
    inside: Dict[int, int] = {}  # id of a container on the path: its depth
    sound: Set[int] = set()  # ids of containers that have been gone through; parts may be shared, many times over
    made: List[object] = []  # what stands for values that are no JSON: kept, lest another gets the id of one
    iterators: List[Tuple[int, Iterator[Tuple[str, object]]]] = []
    step, item = root, value
    while True:
        path.append(step)
        itself = id(item)
        if itself in inside:
            fault: Optional[str] = f"refers back to {_join(path[: inside[itself] + 1])}"
        else:
            item, fault = _simplified(item)
            made.append(item)
        if fault or (fault := _fault(item)):
            return f"{_join(path)} {fault}, which JSON cannot carry"
        if itself not in sound and (is_a(item, dict) or is_a(item, list) or is_a(item, tuple)):
            inside[itself] = len(path) - 1
            iterators.append((itself, _items(item)))
            depth = max(depth, len(iterators))
        else:
            path.pop()
        while iterators:
            following = next(iterators[-1][1], None)
            if following is not None:
                step, item = following
                break
            path.pop()
            done = iterators.pop()[0]
            sound.add(done)
            del inside[done]
        else:
            break
    if is_a(error, RecursionError):
        return f"{root} is nested {depth} levels deep, which is more than JSON encoding takes"
    return None


def _simplified(item: object) -> Tuple[object, Optional[str]]:
    """Return what a value is encoded as, or what is wrong with it."""
    while not (item is None or any(is_a(item, kind) for kind in _KNOWN)):
        try:
            item = simpler(item)
        except ValueError:
            return item, f"is {cut_end(str(item), _MAX_PATH)}"
        except Exception:
            return item, f"is {_a(item)}"
    return item, None


def _fault(item: object) -> Optional[str]:
    """Say what is wrong with a value or with the keys of a dict, not with what it contains."""
    if item is None or is_a(item, bool) or is_a(item, list) or is_a(item, tuple):
        return None
    if is_a(item, str):
        return _surrogate(item) and f"has {_surrogate(item)}"
    if is_a(item, int):
        return _digits(item) and f"is {_digits(item)}"
    if is_a(item, float):
        return None if isfinite(item) else f"is {float.__repr__(item)}"
    for key in item if is_a(item, dict) else ():
        fault = _fault_of_key(key)
        if fault:
            return f"has a key {fault}"
    return None


def _fault_of_key(key: object) -> Optional[str]:
    if is_a(key, str):
        return _surrogate(key) and f"with {_surrogate(key)}"
    if is_a(key, int) or is_a(key, float):
        return _fault(key) and f"that {_fault(key)}"
    try:
        key_text(key)
    except Exception:
        return f"that is {_a(key)}"
    return None


def _surrogate(text: str) -> Optional[str]:
    found = _SURROGATE.search(text)
    return found and f"a lone surrogate (\\u{ord(found[0]):04x} at {found.start()})"


def _digits(number: int) -> Optional[str]:
    try:
        int.__repr__(number)
    except ValueError:
        return f"an int of {int.bit_length(number)} bits"
    return None


def _a(item: object) -> str:
    name = class_name(type(item))
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _items(container: object) -> Iterator[Tuple[str, object]]:
    if is_a(container, dict):
        for key, item in container.items():
            text = str.__str__(key) if is_a(key, str) else str(key)
            yield f".{text}" if text.isidentifier() else f"[{_quote(text)}]", item
    elif is_a(container, list) or is_a(container, tuple):
        for index, item in enumerate(container):
            yield f"[{index}]", item


def _quote(text: str) -> str:
    return encode_basestring(text if len(text) <= 40 else text[:40] + "…")


def _join(path: List[str]) -> str:
    text = "".join(path)
    return text if len(text) <= _MAX_PATH else f"{text[: _MAX_PATH // 2]}…{text[-_MAX_PATH // 2 :]}"
