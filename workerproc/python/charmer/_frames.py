"""Frames: the unit on the pipe. The only module that knows their bytes.

    uint32 length    big-endian; counts what follows: 5 + size of body
    uint8  kind
    uint32 id        big-endian
           body      empty, or one JSON text in UTF-8

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

import os
from struct import Struct
from time import monotonic
from typing import Callable, Final, Iterator, List, NoReturn, Optional, Set, Tuple, TypeVar, Union

from ._failure import headline, is_system_error
from ._turns import Gate, Turns

CALL: Final = 0x01
PING: Final = 0x03
STOP: Final = 0x04
HELLO: Final = 0x81
PROGRESS: Final = 0x82
READY: Final = 0x83
RESULT: Final = 0x84
CHUNK: Final = 0x85
ERROR: Final = 0x86
LOG: Final = 0x87
PONG: Final = 0x88

EVENT: Final = 0x187
"""A LOG that is an event of its call, and is dropped where that has been answered. Not a kind on the pipe."""

OVERHEAD: Final = 5
"""Bytes that length counts besides the body."""

Frame = Tuple[int, int, str, float]
"""A frame that came in: kind, id, body, and when it was read (monotonic seconds)."""

_TO_WORKER: Final = frozenset((CALL, PING, STOP))
_CHUNK: Final = 64 * 1024
_HEADER: Final = Struct(">IBI")
_LENGTH: Final = Struct(">I")
OF_THE_CALL: Final = -1
"""Stands for the id of the one call that runs, where calls run one after another."""

_ONLY_WHILE_OPEN: Final = frozenset((PROGRESS, CHUNK, EVENT))
_read: Final = os.read
_readv: Final = os.readv
_write: Final = os.write
_writev: Final = os.writev

A = TypeVar("A")
R = TypeVar("R")


class FrameError(Exception):
    """The stream is out of step: the position of the next frame is not known, so the process must end."""


def read_frames(fd: int, max_frame: int, stray: Callable[[BaseException], None]) -> Iterator[Frame]:
    """Read frames until input ends between two of them. One read takes all the frames it brings.

    Args:
        fd: Descriptor to read, blocking.
        max_frame: Largest length that is accepted; it is checked before anything is allocated.
        stray: Told what a signal handler of the app raised while this waited; it may raise to end the reading.

    Raises:
        FrameError: A length out of bounds, a kind that no worker takes, a body that is not UTF-8, input that ends
            inside a frame, or a descriptor that cannot be read.
    """
    rest = b""
    while True:
        data = _uninterrupted(_read, fd, _CHUNK, stray)
        arrived = monotonic()
        if not data:
            if rest:
                raise FrameError(f"input ended {len(rest)} bytes into a frame")
            return
        if rest:
            data, rest = rest + data, b""
        at, size = 0, len(data)
        while at < size:
            if size - at < _HEADER.size:
                rest = data[at:]
                if len(rest) >= _LENGTH.size:
                    _check_length(_LENGTH.unpack_from(rest)[0], max_frame)
                break
            length, kind, call_id = _HEADER.unpack_from(data, at)
            if length < OVERHEAD or length > max_frame or kind not in _TO_WORKER:
                _check_header(length, kind, max_frame)
            end = at + _LENGTH.size + length
            if end - size > _CHUNK:
                yield kind, call_id, _read_large(fd, data[at:], end - at, stray), monotonic()
                break
            if end > size:
                rest = data[at:]
                break
            yield kind, call_id, _text(data[at + _HEADER.size : end]), arrived
            at = end


def _read_large(fd: int, start: bytes, size: int, stray: Callable[[BaseException], None]) -> str:
    """Read the rest of a frame of which start has come, and return its body."""
    view = memoryview(bytearray(size))
    filled = len(start)
    view[:filled] = start
    while filled < size:
        got = _uninterrupted(_readv, fd, [view[filled:]], stray)
        if not got:
            raise FrameError(f"input ended {filled} bytes into a frame of {size}")
        filled += got
    return _text(view[_HEADER.size :])


def _uninterrupted(read: Callable[[int, A], R], fd: int, arg: A, stray: Callable[[BaseException], None]) -> R:
    """Call read(fd, arg), whatever a signal handler of the app raises meanwhile."""
    got: List[R] = []
    while not got:
        try:
            # The list is filled inside of one C call, so an exception right behind the read cannot lose its bytes.
            got.extend(map(read, (fd,), (arg,)))
        except BaseException as exc:
            if is_system_error(exc):
                raise FrameError(f"cannot read frames: {exc}") from exc
            stray(exc)
    return got[0]


class Splitter:
    """Cuts into frames what comes in pieces, for a reader that must not wait for the rest of one."""

    def __init__(self, max_frame: int) -> None:
        """Args: max_frame: Largest length that is accepted; it is checked before the body is waited for."""
        self._max_frame = max_frame
        self._rest = bytearray()
        self._wanted = 0  # bytes of the frame that has begun

    def feed(self, data: bytes) -> List[Frame]:
        """Return the frames that are complete with data.

        Raises:
            FrameError: As read_frames.
        """
        arrived = monotonic()
        rest, at = self._rest, 0
        rest += data
        frames: List[Frame] = []
        while len(rest) - at >= max(self._wanted, _LENGTH.size):
            self._wanted = 0
            (length,) = _LENGTH.unpack_from(rest, at)
            _check_length(length, self._max_frame)
            if len(rest) - at < _HEADER.size:
                break
            _, kind, call_id = _HEADER.unpack_from(rest, at)
            _check_header(length, kind, self._max_frame)
            end = at + _LENGTH.size + length
            if end > len(rest):
                self._wanted = end - at
                break
            frames.append((kind, call_id, _text(bytes(rest[at + _HEADER.size : end])), arrived))
            at = end
        del rest[:at]
        return frames

    def end(self) -> None:
        """Take note that input has ended.

        Raises:
            FrameError: Inside a frame.
        """
        if self._rest:
            raise FrameError(f"input ended {len(self._rest)} bytes into a frame")


def read_some(fd: int, stray: Callable[[BaseException], None]) -> Optional[bytes]:
    """Read what is there, once a poll says that there is something; empty at end of input, None if there is nothing.

    Args:
        fd: Descriptor to read.
        stray: As for read_frames.

    Raises:
        FrameError: The descriptor cannot be read.
    """
    return _uninterrupted(_read_if_any, fd, _CHUNK, stray)


def _read_if_any(fd: int, size: int) -> Optional[bytes]:
    try:
        return _read(fd, size)
    except BlockingIOError:  # a loop of another make has made it non-blocking
        return None


def _check_header(length: int, kind: int, max_frame: int) -> None:
    _check_length(length, max_frame)
    if kind not in _TO_WORKER:
        raise FrameError(f"kind 0x{kind:02x} of a frame is none that a worker takes")


def _check_length(length: int, max_frame: int) -> None:
    if not OVERHEAD <= length <= max_frame:
        raise FrameError(f"length {length} of a frame is not within {OVERHEAD} and {max_frame}")


def _text(body: Union[bytes, memoryview]) -> str:
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError as exc:
        raise FrameError(f"body of a frame is not UTF-8: {exc.reason} at byte {exc.start}") from exc


class FrameWriter:
    """Writes whole frames, from any thread and from within signal handlers.

    A write that fails or is broken off within a frame ends the process by die. What a signal handler of the app
    raises meanwhile passes through. While it is not attached, in the zygote and in a child that the app forked, it
    writes nothing and takes no lock, since a thread of the parent may have held it.
    """

    __slots__ = ("_die", "_fd", "_turns", "attached", "forked", "gate", "open", "running", "whose")

    def __init__(self, fd: int, die: Callable[[str], NoReturn], gate: Optional[Gate] = None) -> None:
        self._fd = fd
        self._die = die
        self.gate = gate or Gate()
        """For whatever puts its output through this writer; see Turns."""
        self._turns: Turns[Tuple[int, int, bytes]] = Turns(self._put_out, self.gate)
        self.attached = True
        self.forked = False
        """Whether this is a child that the app forked, whose frames are its parent's to write."""
        self.running = 0
        """Id of the call that runs, else 0. Set by the serve loop, cleared in the turn that writes the reply."""
        self.open: Set[int] = set()
        """Ids of the calls that run side by side; as running."""
        self.whose: Callable[[], int] = _of_the_call
        """Tells the id of the call that the code which asks belongs to, 0 for none."""

    def send(self, kind: int, body: bytes = b"", call_id: int = 0) -> None:
        """Write one frame, or queue it if this thread is in the midst of writing one."""
        if self.attached:
            self._turns.put((kind, call_id, body))

    def reply(self, kind: int, body: bytes, call_id: int) -> None:
        """Write an answer completely; for the serve loop only, which is never within another write."""
        if self.forked:
            self._die("a forked child came back to the serve loop")
        self._turns.settle((kind, call_id, body))

    def log(self, body: bytes, call_id: int = OF_THE_CALL) -> None:
        """Write one LOG frame with the id of its call, or 0 once that has been answered."""
        self.send(LOG, body, call_id)

    def _put_out(self, frame: Tuple[int, int, bytes]) -> None:
        kind, call_id, body = frame
        if call_id == OF_THE_CALL:
            call_id = self.running
        elif kind == RESULT or kind == ERROR:
            self.running = 0
            if self.open:
                self.open.discard(call_id)
        elif call_id and call_id != self.running and call_id not in self.open:  # it has been answered
            if kind in _ONLY_WHILE_OPEN:
                return
            if kind == LOG:
                call_id = 0
        if kind == EVENT:
            kind = LOG
        size = len(body) + _HEADER.size
        header = _HEADER.pack(len(body) + OVERHEAD, kind, call_id)
        done: List[int] = []  # bytes that each write took, noted as in _uninterrupted
        try:
            if size <= _CHUNK:
                done.extend(map(_write, (self._fd,), (header + body,)))
            else:
                done.extend(map(_writev, (self._fd,), ((header, body),)))
            while (so_far := sum(done)) < size:
                at = so_far - len(header)
                rest = memoryview(body)[at:] if at >= 0 else header[at:] + body
                done.extend(map(_write, (self._fd,), (rest,)))
        except BaseException as exc:
            if is_system_error(exc) or 0 < sum(done) < size:
                self._die(f"cannot write frames: {headline(exc)}")
            raise  # by a signal handler of the app, with the frame written or not begun


def _of_the_call() -> int:
    return OF_THE_CALL
