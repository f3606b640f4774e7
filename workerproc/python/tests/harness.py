"""A pool of one, for tests: starts the runtime as charmer does and speaks the protocol with it."""

from __future__ import annotations

import ctypes
import fcntl
import json
import math
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Final, List, Mapping, Optional, Set, Tuple, Type

RUNTIME: Final = Path(__file__).resolve().parent.parent
APPS: Final = Path(__file__).resolve().parent / "apps"
GOLDEN: Final = RUNTIME.parent / "testdata" / "frames"
PATIENCE: Final = 60.0
"""Seconds after which a test fails that waits for something which does not come."""
_AGAIN: Final = 2.0
"""Seconds between two signals that are to have the same effect."""

KINDS: Final = {
    "CALL": 0x01,
    "CANCEL": 0x02,
    "PING": 0x03,
    "STOP": 0x04,
    "HELLO": 0x81,
    "PROGRESS": 0x82,
    "READY": 0x83,
    "RESULT": 0x84,
    "CHUNK": 0x85,
    "ERROR": 0x86,
    "LOG": 0x87,
    "PONG": 0x88,
}
CREDIT: Final = 0x05
CANCEL_SIGNAL: Final = signal.SIGRTMIN + 6
_PACKET: Final = struct.Struct(">BII")
_NAMES: Final = {number: name for name, number in KINDS.items()}


@dataclass(frozen=True)
class Got:
    """A frame from the worker, its body decoded; None if it was empty."""

    kind: str
    id: int
    body: Any


def frame(kind: str, call_id: int, body: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(body) + 5, KINDS[kind], call_id) + body


def envelope(command: str, args: Mapping[str, object], **members: object) -> bytes:
    fields = {"command": command, "request_id": "r-1", "timeout_ms": 30000, **members, "args": args}
    return json.dumps(fields).encode()


class Worker:
    """One worker process with its pipes. A context manager: leaving it kills the process group and closes all."""

    def __init__(
        self, app: str, *, max_frame: int = 64 << 20, cwd: str = "", control: bool = True, concurrency: int = 0
    ) -> None:
        self._inbox = bytearray()
        self._spent: Optional[int] = None
        self.out = tempfile.TemporaryFile()
        self.err = tempfile.TemporaryFile()
        theirs_in, self.to_worker = os.pipe()
        self.from_worker, theirs_out = os.pipe()
        theirs_life, self.lifeline = os.pipe()
        self.stack, theirs_stack = os.pipe()
        self.control, theirs_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs = (theirs_in, theirs_out, theirs_life, theirs_stack, theirs_control.detach())
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in theirs]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CHARMER_", "PYTHON"))}
        environment["CHARMER_WORKER_ID"] = "1"
        environment["CHARMER_WORKER_MAX_FRAME"] = str(max_frame)
        environment["CHARMER_WORKER_START_METHOD"] = "exec"
        if app:
            environment["CHARMER_WORKER_APP"] = app
        if concurrency:
            environment["CHARMER_WORKER_CONCURRENCY"] = str(concurrency)
        numbers = (3, 4, 6, 7, 5) if control else (3, 4, 6, 7)
        before = os.getcwd()
        os.chdir(cwd or before)
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, str(RUNTIME)],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, self.out.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, self.err.fileno(), 2),
                    *((os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(high, numbers)),
                ],
                setpgroup=0,
                setsigdef=(signal.SIGINT,),  # which those ignore who were started in the background
            )
        finally:
            os.chdir(before)
            for fd in (*theirs, *high):
                os.close(fd)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], exc: Optional[BaseException], tb: Optional[TracebackType]
    ) -> None:
        if exc is not None and (said := self.stderr()):
            print(f"stderr of the worker:\n{said}", file=sys.stderr)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self._spent is None:
            os.waitpid(self.pid, 0)
        for fd in (self.to_worker, self.from_worker, self.lifeline, self.stack):
            if fd >= 0:
                os.close(fd)
        self.control.close()
        self.out.close()
        self.err.close()

    def send(self, *frames: bytes) -> None:
        """Write frames, all at once."""
        rest = memoryview(b"".join(frames))
        while rest:
            rest = rest[os.write(self.to_worker, rest) :]

    def start(self, command: str, call_id: int, stream: Optional[int] = None, **args: object) -> None:
        """Call a command without waiting for its reply. stream: the credit, if its items are to come one by one."""
        members = {} if stream is None else {"stream": {"credit": stream}}
        self.send(frame("CALL", call_id, envelope(command, args, **members)))

    def cancel(self, call_id: int) -> None:
        """Send CANCEL and the signal that comes with it."""
        self.tell(KINDS["CANCEL"], call_id, 0)
        self.signal()

    def tell(self, kind: int, call_id: int, n: int) -> None:
        """Send a packet on the control socket."""
        self.control.send(_PACKET.pack(kind, call_id, n))

    def signal(self) -> None:
        """Send cancel_signal to the main thread."""
        if ctypes.CDLL(None).tgkill(self.pid, self.pid, CANCEL_SIGNAL) != 0:
            raise AssertionError("the worker has gone")

    def computes(self) -> None:
        """Wait until the worker has used a little processor time from now on."""
        begun = self._processor_time()
        while self._processor_time() < begun + 3:
            time.sleep(0.002)

    def _processor_time(self) -> int:
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        return int(stat.rpartition(")")[2].split()[11])

    def cancel_until_answered(self, call_id: int) -> Tuple[List[Got], Got]:
        """Send CANCEL, and the signal again as long as no answer has come, as charmer does."""
        logs: List[Got] = []
        self.cancel(call_id)
        again = deadline = time.monotonic()
        while True:
            if time.monotonic() > again:
                self.signal()
                again = time.monotonic() + 0.05
            if not self.is_silent() or select.select([self.from_worker], [], [], 0.05)[0]:
                got = self.next()
                if got is None or got.kind != "LOG":
                    assert got is not None, "the worker ended"
                    return logs, got
                logs.append(got)
            elif time.monotonic() > deadline + PATIENCE:
                raise AssertionError(f"call {call_id} goes on though it was cancelled")

    def grant(self, call_id: int, n: int) -> None:
        """Let n bytes more of chunks of a call go."""
        self.tell(CREDIT, call_id, n)

    def replies(self, count: int) -> Dict[int, Got]:
        """Return that many replies by the ids of their calls; no call may have two."""
        replies: Dict[int, Got] = {}
        while len(replies) < count:
            got = self.reply()[1]
            if got.id in replies:
                raise AssertionError(f"{got} after {replies[got.id]}")
            replies[got.id] = got
        return replies

    def hang_up(self) -> None:
        """Close the pipe of frames to the worker."""
        os.close(self.to_worker)
        self.to_worker = -1

    def cut_lifeline(self) -> None:
        """Do to the worker what the death of charmer does."""
        os.close(self.lifeline)
        self.lifeline = -1

    def next(self) -> Optional[Got]:
        """Return the next frame, or None at the end of what the worker writes."""
        while True:
            if len(self._inbox) >= 9:
                length, kind, call_id = struct.unpack_from(">IBI", self._inbox)
                if len(self._inbox) >= 4 + length:
                    body = bytes(self._inbox[9 : 4 + length])
                    del self._inbox[: 4 + length]
                    return Got(_NAMES[kind], call_id, json.loads(body) if body else None)
            data = read_some(self.from_worker)
            if not data:
                if self._inbox:
                    raise AssertionError(f"output ended inside a frame: {self._inbox[:100]!r}")
                return None
            self._inbox += data

    def until(self, kind: str) -> Tuple[List[Got], Got]:
        """Return the frames before the next one of a kind, and that one."""
        before: List[Got] = []
        while True:
            got = self.next()
            if got is None:
                raise AssertionError(f"no {kind} came, but {before} and exit code {self.wait()}: {self.stderr()}")
            if got.kind == kind:
                return before, got
            before.append(got)

    def ready(self) -> Got:
        """Wait for READY."""
        return self.until("READY")[1]

    def heard(self, message: str) -> List[Got]:
        """Wait for a line of output, and return the frames before it."""
        before: List[Got] = []
        while True:
            got = self.next()
            if got is None:
                raise AssertionError(f"never heard {message!r}, but {before} and exit code {self.wait()}: {self.stderr()}")
            if got.kind == "LOG" and got.body["message"] == message:
                return before
            before.append(got)

    def is_silent(self) -> bool:
        """Tell whether nothing has come."""
        return not self._inbox and not select.select([self.from_worker], [], [], 0)[0]

    def reply(self) -> Tuple[List[Got], Got]:
        """Return the LOG frames before the next reply, and that reply."""
        logs: List[Got] = []
        while True:
            got = self.next()
            if got is None:
                raise AssertionError(f"no reply came, but {logs} and exit code {self.wait()}: {self.stderr()}")
            if got.kind != "LOG":
                return logs, got
            logs.append(got)

    def call(self, command: str, call_id: int = 1, **args: object) -> Got:
        """Call a command and return its reply."""
        return self.call_with_logs(command, call_id, **args)[1]

    def call_with_logs(self, command: str, call_id: int = 1, **args: object) -> Tuple[List[Got], Got]:
        """Call a command and return the LOG frames before its reply, and its reply."""
        self.send(frame("CALL", call_id, envelope(command, args)))
        return self.reply()

    def rest(self) -> List[Got]:
        """Return all frames up to the end of what the worker writes."""
        rest: List[Got] = []
        while (got := self.next()) is not None:
            rest.append(got)
        return rest

    def wait(self, after: int = 0) -> int:
        """Wait for the exit of the process; return its exit code, or minus the signal that killed it.

        Args:
            after: A signal to send first, and now and then again: one that comes just before a system call does not
                interrupt it.
        """
        deadline = time.monotonic() + PATIENCE
        sent = -math.inf
        while self._spent is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._spent = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            elif time.monotonic() > deadline:
                raise AssertionError(f"process {self.pid} did not end: {self.stderr()}")
            elif after and time.monotonic() - sent > _AGAIN:
                os.kill(self.pid, after)
                sent = time.monotonic()
            else:
                time.sleep(0.001)
        return self._spent

    def read_stack(self, marker: str) -> str:
        """Read the dump of the stacks until it holds marker."""
        text = ""
        while marker not in text:
            data = read_some(self.stack)
            if not data:
                raise AssertionError(f"no {marker!r} in the stack: {text}")
            text += data.decode()
        return text

    def pipes_in(self, links: str) -> Set[str]:
        """Return the pipes of the protocol that are among the targets of links in /proc/PID/fd."""
        fds = (self.to_worker, self.from_worker, self.lifeline, self.stack)
        return {link for link in (os.readlink(f"/proc/self/fd/{fd}") for fd in fds) if link in links}

    def stderr_link(self) -> str:
        """Return what descriptor 2 of the worker shows as in /proc/PID/fd."""
        return os.readlink(f"/proc/self/fd/{self.err.fileno()}")

    def stdout(self) -> str:
        """Return what reached descriptor 1."""
        return _content(self.out.fileno())

    def stderr(self) -> str:
        """Return what reached descriptor 2."""
        return _content(self.err.fileno())


def read_some(fd: int) -> bytes:
    """Read what is there, waiting for it; empty at end of input."""
    if not select.select([fd], [], [], PATIENCE)[0]:
        raise AssertionError(f"nothing came for {PATIENCE} seconds")
    return os.read(fd, 1 << 20)


def lines(logs: List[Got], stream: str) -> List[str]:
    """Return the messages of the LOG frames of a stream."""
    return [got.body["message"] for got in logs if got.kind == "LOG" and got.body["stream"] == stream]


def golden() -> Dict[str, Tuple[bytes, Dict[str, Any]]]:
    """Return the golden frames: by file name the bytes, and what they say."""
    index: List[Dict[str, Any]] = json.loads((GOLDEN / "index.json").read_text(encoding="utf-8"))
    return {entry["file"]: ((GOLDEN / entry["file"]).read_bytes(), entry) for entry in index}


def _content(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "replace")
