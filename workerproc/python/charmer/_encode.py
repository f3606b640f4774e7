"""JSON out: results, what is wrong with those that JSON cannot carry, and the bodies of our own frames."""

from __future__ import annotations

import json
import json.encoder
import math
import re
from typing import Callable, Dict, Final, Iterator, List, Mapping, Optional, Tuple, cast

_ENCODER: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_PATH: Final = 300


def encode_fields(fields: Mapping[str, object]) -> bytes:
    """Encode the body of a frame of our own, whatever its strings hold: lone surrogates become backslash escapes."""
    text = _encode_plain(fields)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # In a JSON text they stand in strings only, where the doubled backslash is read as one.
        return _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text).encode("utf-8")


def _make_encoder(open_containers: Optional[Dict[int, object]]) -> Callable[[object], str]:
    """Make what JSONEncoder.encode does with its C part made once, and out of reach of an app that patches json.

    Args:
        open_containers: Holds those that are being encoded, to notice cycles; None does without.
    """
    plain = _ENCODER.encode
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain

    def encode(value: object) -> str:
        return "".join(run(value, 0))

    sample = {"a": [1, 2.5, None, True, "ß\n"], "1": ()}
    try:
        quote = json.encoder.encode_basestring
        run: Callable[[object, int], Tuple[str, ...]]
        run = make(open_containers, _ENCODER.default, quote, None, ":", ",", False, False, False)
        return encode if encode(sample) == plain(sample) else plain
    except Exception:  # an interpreter whose json is made otherwise inside
        return plain


def result_encoder() -> Callable[[object], str]:
    """Make the function that encodes results. It raises what JSONEncoder.encode raises, and is for one thread."""
    open_containers: Dict[int, object] = {}
    make = _make_encoder(open_containers)

    def encode(value: object) -> str:
        try:
            return make(value)
        except BaseException:
            open_containers.clear()
            raise

    return encode


_encode_plain: Final = _make_encoder(None)  # for fields of our own, which have no cycles: from any thread


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
