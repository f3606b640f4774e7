"""Output of the app as LOG frames: print, stderr, logging and warnings. Source: docs/protocol.md, section 7."""

from __future__ import annotations

import io
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, Final, Iterable, Optional, Tuple, cast

from ._encode import encode_fields
from ._frames import EVENT, PROGRESS, FrameWriter
from ._text import MAX_LINE, cut_end, text_limit
from ._turns import Gate, Turns

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MAX_LOGGER: Final = 200
_write: Final = os.write


class _Line:
    """The beginning of a line, and how many bytes more of it were dropped."""

    __slots__ = ("kept", "more")

    def __init__(self) -> None:
        self.kept = bytearray()
        self.more = 0


class LineBuffer(io.BufferedIOBase):
    """The binary end of sys.stdout or sys.stderr: cuts lines, one by one for each call, and hands them to a function.

    Of a line it keeps what a LOG frame can carry and counts the rest, so a line without end takes no memory. Closing
    it does nothing, so that the app cannot lose its output. In a forked child it writes to the descriptor.
    """

    def __init__(
        self, fd: int, limit: int, emit: Callable[[str, int], None], gate: Gate, whose: Callable[[], int]
    ) -> None:
        """Args:
            fd: Descriptor that this stands for.
            limit: Bytes of a line at most.
            emit: Told each line, and whose it is.
            gate: See Turns.
            whose: Returns the number under which calls keep their lines apart.
        """
        self.name = "<stdout>" if fd == 1 else "<stderr>"
        self.pending = False  # something was written since end_line
        self._fd = fd
        self._limit = limit
        self._emit = emit
        self._whose = whose
        self._raw = False
        self._lines: Dict[int, _Line] = {}  # those that have begun
        self._turns: Turns[Tuple[int, Optional[bytes]]] = Turns(self._take, gate)

    def write(self, buffer: ReadableBuffer, /) -> int:
        data = bytes(buffer)
        self.pending = True
        if self._raw:
            rest = data
            while rest:
                rest = rest[_write(self._fd, rest) :]
        else:
            self._turns.put((self._whose(), data))
        return len(data)

    def end_line(self) -> None:
        """Hand on the line that has begun, if any. Never to be called from within a write."""
        self.pending = False
        self.end_line_of(self._whose())

    def end_line_of(self, whose: int) -> None:
        """As end_line, for what is another's."""
        if not self._raw:
            self._turns.settle((whose, None))

    def write_through(self, raw: bool) -> None:
        """From now on write to the descriptor, or no more. What a forked child inherited is the parent's to hand on."""
        self._raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def flush(self) -> None:
        """Do nothing: whole lines have gone out, and a line that has begun waits for its end."""

    def close(self) -> None:
        """Do nothing; see the class."""

    def _take(self, item: Tuple[int, Optional[bytes]]) -> None:
        whose, data = item
        if data is None:
            if whose in self._lines:
                self._finish(whose)
            return
        at = 0
        end = data.find(b"\n")
        while end >= 0:
            self._keep(whose, data[at:end])
            self._finish(whose)
            at = end + 1
            end = data.find(b"\n", at)
        if at < len(data):
            self._keep(whose, data[at:])

    def _keep(self, whose: int, piece: bytes) -> None:
        line = self._lines.get(whose)
        if line is None:
            line = self._lines[whose] = _Line()
        room = max(0, self._limit + 1 - len(line.kept))  # one more, since a \r before the end of the line goes
        line.kept += piece[:room]
        line.more += len(piece) - min(len(piece), room)

    def _finish(self, whose: int) -> None:
        line = self._lines.pop(whose)
        kept = bytes(line.kept)
        if kept.endswith(b"\r") and not line.more:
            kept = kept[:-1]
        self._emit(cut_end(kept.decode("utf-8", "backslashreplace"), self._limit, line.more), whose)


class LogHandler(logging.Handler):
    """Hands each line of each record to a function, with its level and its logger."""

    def __init__(self, emit_line: Callable[[str, str, str], None]) -> None:
        super().__init__()
        self._emit_line = emit_line

    def handle(self, record: logging.LogRecord) -> bool:
        """Do without the lock of the base class: emit needs none, and it could be wanted within a write; see Turns."""
        passed = cast("object", self.filter(record))  # since Python 3.12 it may be another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level, logger = _level(record.levelno), str(record.name)
            for line in self.format(record).split("\n"):
                self._emit_line(level, logger, line)
        except Exception:
            self.handleError(record)


class Output:
    """Owns the streams and the log handler of a worker."""

    def __init__(self, writer: FrameWriter, max_frame: int) -> None:
        self._writer = writer
        self._limit = min(MAX_LINE, text_limit(max_frame))
        self.out = LineBuffer(1, self._limit, partial(self._send, "info", "stdout"), writer.gate, self._whose)
        self.err = LineBuffer(2, self._limit, partial(self._send, "warning", "stderr"), writer.gate, self._whose)
        self._stdout = _text_stream(self.out)
        self._stderr = _text_stream(self.err)

    def install(self) -> None:
        """Take over sys.stdout, sys.stderr, the root logger and warnings."""
        sys.stdout, sys.stderr = self._stdout, self._stderr
        setattr(sys, "__stdout__", self._stdout)
        setattr(sys, "__stderr__", self._stderr)
        root = logging.getLogger()
        root.addHandler(LogHandler(self.log))
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)

    def restore(self) -> None:
        """Give the app its streams back where it has set them to None."""
        if getattr(sys, "stdout", None) is None:
            sys.stdout = self._stdout
        if getattr(sys, "stderr", None) is None:
            sys.stderr = self._stderr

    def end_lines(self) -> None:
        """Hand on lines that have begun; called at the end of each call, before its reply."""
        if self.out.pending:
            self.out.end_line()
        if self.err.pending:
            self.err.end_line()

    def end_lines_of(self, call_id: int) -> None:
        """As end_lines, at the end of a call that ran beside others."""
        self.out.end_line_of(call_id)
        self.err.end_line_of(call_id)

    def event(self, level: str, message: str, call_id: int) -> None:
        """Send what the app says to the caller of a call, by lines. Raises Cancelled in between, if that is due."""
        for line in message.split("\n"):
            fields = {"level": level, "stream": "log", "logger": "charmer", "message": cut_end(line, self._limit), "event": True}
            self._writer.send(EVENT, encode_fields(fields), call_id)

    def progress(self, fraction: Optional[float], message: Optional[str], call_id: int) -> None:
        """Send how far a call is."""
        fields: Dict[str, object] = {}
        if fraction is not None:
            fields["fraction"] = fraction
        if message is not None:
            fields["message"] = cut_end(message, self._limit)
        self._writer.send(PROGRESS, encode_fields(fields), call_id)

    def log(self, level: str, logger: str, line: str) -> None:
        """Send one line of a log record; without frames write it to stderr."""
        if not self._writer.attached:
            self.err.write(cut_end(f"{level}: {logger}: {line}\n", self._limit).encode("utf-8"))
        else:
            self._send(level, "log", line, self._whose(), cut_end(logger, _MAX_LOGGER))

    def log_lines(self, level: str, lines: Iterable[str]) -> None:
        """Send lines of the runtime's own."""
        for line in lines:
            self.log(level, "charmer", line)

    def write_through(self, raw: bool) -> None:
        """Have output go to the descriptors themselves, as in the zygote and in forked children, or into frames."""
        self.out.write_through(raw)
        self.err.write_through(raw)

    def _whose(self) -> int:
        return self._writer.whose()

    def _send(self, level: str, stream: str, message: str, whose: int, logger: str = "") -> None:
        fields = {"level": level, "stream": stream}
        if logger:
            fields["logger"] = logger
        fields["message"] = cut_end(message, self._limit) if logger else message
        self._writer.log(encode_fields(fields), whose)


def _text_stream(buffer: LineBuffer) -> io.TextIOWrapper:
    how = "backslashreplace"
    return io.TextIOWrapper(buffer, encoding="utf-8", errors=how, line_buffering=True, write_through=True)


def _level(number: int) -> str:
    for least, name in ((50, "critical"), (40, "error"), (30, "warning"), (20, "info")):
        if number >= least:
            return name
    return "debug"
