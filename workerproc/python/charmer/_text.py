"""Cutting text to a number of UTF-8 bytes, and saying how much was cut."""

from __future__ import annotations

from typing import Final

MAX_LINE: Final = 8 * 1024
"""Bytes of one line of output in a LOG frame, what is said at its end included."""

MAX_TEXT: Final = 32 * 1024
"""Bytes of a message or a traceback in an ERROR frame."""

_ROOM_FOR_NOTE: Final = 48


def text_limit(max_frame: int) -> int:
    """Bytes that one text in an ERROR frame may have, such that two of them fit however JSON escapes them.

    Args:
        max_frame: The largest length of a frame, in bytes.
    """
    return min(MAX_TEXT, max_frame // 16)


def cut_end(text: str, limit: int, more: int = 0) -> str:
    """Cut text to limit bytes of UTF-8. Lone surrogates become backslash escapes.

    Args:
        text: What to cut.
        limit: Bytes of the result at most.
        more: Bytes that the caller has dropped from the end of text already.

    Returns:
        The text, or its beginning and "… (N bytes cut)".
    """
    data = str.encode(text, "utf-8", "backslashreplace")
    if len(data) <= limit and not more:
        return str(data, "utf-8")
    kept = str(data[: min(len(data), max(0, limit - _ROOM_FOR_NOTE))], "utf-8", "ignore")
    gone = len(data) - len(kept.encode("utf-8")) + more
    return f"{kept}… ({gone} bytes cut)"


def cut_middle(text: str, limit: int) -> str:
    """Cut text to limit bytes of UTF-8, keeping its beginning and its end. Lone surrogates become backslash escapes.

    Returns:
        The text, or its beginning, a line "… (N bytes cut) …", and its end.
    """
    data = str.encode(text, "utf-8", "backslashreplace")
    if len(data) <= limit:
        return str(data, "utf-8")
    half = max(0, limit - _ROOM_FOR_NOTE) // 2
    head = str(data[:half], "utf-8", "ignore")
    tail = str(data[len(data) - half :], "utf-8", "ignore")
    gone = len(data) - len(head.encode("utf-8")) - len(tail.encode("utf-8"))
    return f"{head}\n… ({gone} bytes cut) …\n{tail}"
