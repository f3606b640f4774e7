"""JSON out: results, and the bodies of our own frames."""

from __future__ import annotations

import json
import json.encoder
import re
import sys
from itertools import accumulate
from typing import Any, Callable, Dict, Final, Mapping, Optional, Tuple

from ._values import plain_value, simpler

MAX_DEPTH: Final = 10_000
"""Levels of arrays and objects that a body may have. Source: docs/protocol.md, section 2."""

_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_MARKS: Final = bytes(set(range(256)) - _STEPS.keys() - {ord('"')})
_UNLIMITED: Final = sys.version_info >= (3, 14)
"""Whether the encoder recurses as far as the C stack goes, whatever the recursion limit is."""
_recursion_limit: Final = sys.getrecursionlimit
_LONG: Final = 64 * 1024
_PROBE: Final = 4 * 1024
"""Characters of a long string that are looked at first: those that have escapes have them there, mostly."""
_ESCAPED: Final = bytes(range(0x20)) + b'"\\'
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def encode_fields(fields: Mapping[str, object]) -> bytes:
    """Encode the body of a frame of our own, whatever its strings hold: lone surrogates become backslash escapes."""
    text = _encode_plain(fields)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # In a JSON text they stand in strings only, where the doubled backslash is read as one.
        return _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text).encode("utf-8")


def depth(body: bytes) -> int:
    """Measure how deep arrays and objects lie in one another: 0 for a number, 1 for `[]`.

    Args:
        body: One JSON text in UTF-8.
    """
    quoted = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
    outside = quoted.replace(b'""', b"").split(b'"')[::2]  # without the many strings that hold no bracket
    return max(accumulate(map(_STEPS.__getitem__, b"".join(outside))), default=0)


def excess_depth(body: bytes) -> int:
    """Return how deep a JSON text is nested if that is more than MAX_DEPTH, else 0; cheap for those that cannot be.

    Args:
        body: What this interpreter has encoded just now, whose encoder recurses: up to the recursion limit, or, in CPython 3.12
            and 3.13, up to a depth of its own, which is less than MAX_DEPTH.
    """
    if _recursion_limit() <= MAX_DEPTH and not _UNLIMITED:
        return 0
    if len(body) < 2 * MAX_DEPTH or body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return 0
    levels = depth(body)
    return levels if levels > MAX_DEPTH else 0


def encode_long_text(value: object) -> Optional[bytes]:
    """Encode a long string that needs no escapes as json does: whether it does C tells at once, and json character by character.

    Returns:
        The text in UTF-8. None if the value is another, or has to be escaped.
    """
    if type(value) is not str or len(value) < _LONG:
        return None
    for part in (value[:_PROBE], value):
        try:
            body = part.encode("utf-8")
        except UnicodeEncodeError:
            return None
        if len(body.translate(None, _ESCAPED)) < len(body):
            return None
    return b'"%b"' % body


def _make_encoder(open_containers: Optional[Dict[int, object]], default: Callable[[Any], object]) -> Callable[[object], str]:
    """Make what JSONEncoder.encode does with its C part made once, and out of reach of an app that patches json.

    Args:
        open_containers: Holds those that are being encoded, to notice cycles; None does without.
        default: Gives what is encoded in place of a value that JSON does not know.
    """
    plain = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=default).encode
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain

    def encode(value: object) -> str:
        return "".join(run(value, 0))

    sample = {"a": [1, 2.5, None, True, "ß\n"], "1": ()}
    try:
        quote = json.encoder.encode_basestring
        run: Callable[[object, int], Tuple[str, ...]]
        run = make(open_containers, default, quote, None, ":", ",", False, False, False)
        return encode if encode(sample) == plain(sample) else plain
    except Exception:  # an interpreter whose json is made otherwise inside
        return plain


def result_encoder() -> Callable[[object], str]:
    """Make the function that encodes results. It raises what JSONEncoder.encode raises, and is for one thread."""
    open_containers: Dict[int, object] = {}
    make = _make_encoder(open_containers, simpler)

    def encode(value: object) -> str:
        try:
            return make(value)
        except TypeError as exc:  # of a key, it may be, that JSON does not know; the encoder asks nobody about these
            open_containers.clear()
            try:
                plain = plain_value(value)
            except Exception:
                raise exc from None
            return make(plain)
        except BaseException:
            open_containers.clear()
            raise

    return encode


_encode_plain: Final = _make_encoder(None, json.JSONEncoder().default)  # for fields of our own, which have no cycles: from any thread
