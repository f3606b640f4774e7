"""JSON by orjson and msgspec, if they are installed, wherever what comes out is what json gives. Elsewhere json goes on."""

from __future__ import annotations

import marshal
import re
from typing import Any, Callable, Final, Optional


def encode_quickly(value: object) -> Optional[bytes]:
    """Encode a value as json does without spaces, if orjson can be trusted with it.

    Returns:
        The text in UTF-8. None if orjson is not there or refuses the value, whose error json tells better. None also if there is
        more in it than the plain values of JSON, such as a Fragment, which orjson writes as it is, or NaN, which it writes as null.
    """
    if _dumps is None:
        return None
    try:
        body = _dumps(value)
        if type(value) is str or not _not_finite(_marshal(value, _MARSHAL_VERSION)):
            return body
    except Exception:  # of orjson, or of marshal, which knows even fewer classes
        pass
    return None


def _find_dumps() -> Optional[Callable[[object], bytes]]:
    try:
        import orjson

        dumps: Any = orjson.dumps
        # What is of classes of its own kind is ours to encode, or json's.
        options = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

        def encode(value: object) -> bytes:
            body: bytes = dumps(value, None, options)
            return body

        sample = {"a": [1, -0.5, True, "ß\n\x7f\"\\", (2**63,)], "": {}}
        return encode if encode(sample) == '{"a":[1,-0.5,true,"ß\\n\x7f\\"\\\\",[9223372036854775808]],"":{}}'.encode() else None
    except Exception:  # it is not there, or is another one than this was written for
        return None


def _find_loads() -> Optional[Callable[[str], Any]]:
    try:
        from msgspec.json import Decoder

        decode = Decoder().decode
        digits = "9" * 40
        found = decode(f'{{"a":[{digits},1e5,null,true,"\\ud83d\\ude00"],"a b":-0.0}}')
        same = repr(found) == repr({"a": [int(digits), 1e5, None, True, "\U0001f600"], "a b": -0.0})
        return decode if same else None
    except Exception:  # as above
        return None


_MARSHAL_VERSION: Final = 4
_marshal: Final[Callable[[Any, int], bytes]] = marshal.dumps
_not_finite: Final = re.compile(rb"[g\xe7].{6}[\xf0-\xff][\x7f\xff]", re.DOTALL).search
"""Finds all floats without a value, and seldom what is none, in what marshal writes: a float is a mark, which a flag may change,
and 8 bytes, the lowest first. Source: Python/marshal.c, w_complex_object."""
_dumps: Final = _find_dumps()
decode_quickly: Final = _find_loads()
"""Decodes a JSON text by msgspec, if that is there. Where it refuses one json may not, and tells better why it does."""
