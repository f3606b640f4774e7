"""The items of a generator: as CHUNK frames within a credit, or as one array. Source: docs/protocol.md, section 4."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, Final, Generator, List, Tuple

from ._cancel import Cancelled
from ._classes import class_name
from ._encode import MAX_DEPTH, encode_long_text, excess_depth, result_encoder
from ._explain import explain
from ._frames import CHUNK, OVERHEAD, RESULT
from ._quick import encode_quickly

if TYPE_CHECKING:
    from ._calls import Calls

Reply = Tuple[int, bytes]
"""Kind and body of the frame that answers a call."""

_BRACKETS: Final = 2
_SMALL: Final = 2 * MAX_DEPTH
"""Bytes of a frame that cannot be nested too deep."""


class Refused(Exception):
    """A result that cannot be sent. type: what encoding it raised."""

    def __init__(self, message: str, type: str = "ValueError") -> None:
        super().__init__(message)
        self.message = message
        self.type = type


def encode_value(encode: Callable[[object], str], value: object, max_frame: int, root: str) -> bytes:
    """Encode a result, or an item of one, as the body of a frame.

    Args:
        encode: As result_encoder makes it.
        value: What to encode.
        max_frame: The largest length of a frame, in bytes.
        root: What it is called in messages.

    Raises:
        Refused: JSON cannot carry it, or the frame would be too large or nested too deep.
    """
    try:
        body = encode_quickly(value) or encode_long_text(value) or encode(value).encode("utf-8")
    except Exception as exc:
        raise Refused(explain(value, exc, root), class_name(type(exc))) from None
    size = len(body) + OVERHEAD
    if size < _SMALL and size <= max_frame:
        return body
    if size > max_frame:
        raise Refused(f"{root} takes {size:,} bytes as a frame, and the largest allowed is {max_frame:,}")
    levels = excess_depth(body)
    if levels:
        raise Refused(f"{root} is nested {levels:,} levels deep, and the deepest allowed is {MAX_DEPTH:,}")
    return body


class Outlet:
    """Where the items of one call go that streams.

    The credit is kept as two sums, so that each is changed by one thread.
    """

    def __init__(self, calls: Calls, call_id: int, credit: float, max_frame: int) -> None:
        """Args: credit: Bytes of bodies that may go before more are granted."""
        self._calls = calls
        self._call_id = call_id
        self._max_frame = max_frame
        self._encode = result_encoder()
        self._granted = credit
        self._spent = 0
        self._count = 0
        self._cut = False
        self.wake: Callable[[], None] = _nothing
        """Called when who waits for credit is to look again."""

    def must_wait(self) -> bool:
        """Tell whether the next chunk has to wait. When the call is to end it has not: nobody grants more to it."""
        return self._spent >= self._granted and not self._calls.is_asked(self._call_id)

    def grant(self, n: int) -> None:
        """Let n bytes more go."""
        self._granted += n
        self.wake()

    def encode(self, item: object) -> bytes:
        """Encode the next item; raises as encode_value."""
        body = encode_value(self._encode, item, self._max_frame, f"result[{self._count}]")
        self._count += 1
        return body

    def send(self, body: bytes) -> None:
        """Send an item, for which credit has come; else the call is to end, and it is left out."""
        if self._spent >= self._granted:
            self._cut = True
            return
        self._spent += len(body)
        writer = self._calls.writer
        if writer is not None:
            writer.send(CHUNK, body, self._call_id)

    def reply(self) -> Reply:
        """Return the end of the stream.

        Raises:
            Cancelled: An item was left out.
        """
        if self._cut:
            raise Cancelled
        return RESULT, b"null"


class Collector(Outlet):
    """Where the items of one call go that does not stream: into the array that answers it."""

    def __init__(self, calls: Calls, call_id: int, max_frame: int) -> None:
        super().__init__(calls, call_id, math.inf, max_frame)
        self._bodies: List[bytes] = []
        self._size = OVERHEAD + _BRACKETS

    def send(self, body: bytes) -> None:
        """Keep an item.

        Raises:
            Refused: There are more than a frame can have.
        """
        self._size += len(body) + bool(self._bodies)
        if self._size > self._max_frame:
            items = len(self._bodies) + 1
            raise Refused(f"result takes more bytes with item {items:,} than the largest frame, {self._max_frame:,}")
        self._bodies.append(body)

    def reply(self) -> Reply:
        """Return the array.

        Raises:
            Refused: It is nested too deep.
        """
        body = b"[" + b",".join(self._bodies) + b"]"
        levels = excess_depth(body)
        if levels:
            raise Refused(f"result is nested {levels:,} levels deep, and the deepest allowed is {MAX_DEPTH:,}")
        return RESULT, body


def make_outlet(calls: Calls, envelope: Dict[str, Any], call_id: int, max_frame: int) -> Outlet:
    """Make what a CALL asks for: a stream, with the credit it names and none needed where no more can come, or an array."""
    stream = envelope.get("stream")
    if not isinstance(stream, dict):
        return Collector(calls, call_id, max_frame)
    credit = stream.get("credit")
    if not isinstance(credit, (int, float)) or calls.control.ended:
        credit = math.inf
    return Outlet(calls, call_id, credit, max_frame)


def pump(generator: Generator[object, None, None], outlet: Outlet, wait: Callable[[Outlet], None]) -> Reply:
    """Send all that a generator yields, and close it, whatever happens.

    Args:
        generator: The generator.
        outlet: Where its items go.
        wait: Waits for credit.

    Raises:
        BaseException: What the generator raises, a cancel, or Refused.
    """
    try:
        try:
            for item in generator:
                body = outlet.encode(item)
                if outlet.must_wait():
                    wait(outlet)
                outlet.send(body)
        finally:
            generator.close()
    finally:
        generator.close()  # again, for a cancel may have come in between; to a closed one it does nothing
    return outlet.reply()


def _nothing() -> None:
    pass
