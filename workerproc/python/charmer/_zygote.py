"""The zygote: imports the app once, and forks a worker of it at each request. Source: docs/protocol.md, section 8."""

from __future__ import annotations

import atexit
import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import Any, Callable, Final, List, Mapping, NoReturn, Sequence, Set

from . import _guard
from ._encode import encode_fields
from ._failure import exit_code, is_exit, traceback_text
from ._imports import ImportWatch, resident_bytes
from ._inherited import Inherited, own_state
from ._limits import limit_zygote
from ._process import Process
from ._text import cut_middle
from ._threads import await_others, cuda_refusal, refusal
from ._worker import live, ready_body, serves_on_a_loop

REQUESTS: Final = _guard.FRAMES_IN
"""Descriptor of the socket on which requests come; a worker has its frames there."""

_TARGETS: Final = (_guard.FRAMES_IN, _guard.FRAMES_OUT, 1, 2, _guard.STACK, _guard.CONTROL)
"""What the descriptors that come with a request become, in their order."""

_RESERVED: Final = (_guard.FRAMES_OUT, _guard.CONTROL)
_REQUEST: Final = 4096
_SHORT: Final = 8 * 1024
_TICK_MS: Final = 1000
_LISTED: Final = 4096
_exit: Final = os._exit
_fork: Final = os.fork
_kill: Final = os.kill
_waitpid: Final = os.waitpid


def main() -> None:
    """Run the zygote in this process, and a worker in each process that it forks."""
    process = Process((REQUESTS,), zygote=True)
    process.writer.attached = False
    process.output.write_through(True)
    try:
        limit_zygote(process.limits)
        Zygote(process).run()
    except Exception as exc:
        process.words.die(traceback_text(exc))
    try:  # in a worker
        live(process, imported=True)
    except BaseException as exc:
        if not is_exit(exc):
            process.words.die(traceback_text(exc))
        _leave(exit_code(exc))


class Zygote:
    """Owns the socket of requests and the workers it has forked. It has one thread and starts none."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._requests = socket.socket(fileno=REQUESTS)
        self._workers: Set[int] = set()  # whose end nobody has asked for yet
        self._inherited = Inherited()
        self._allow_threads = os.environ.get("CHARMER_WORKER_PRELOAD_THREADS") == "allow"

    def run(self) -> None:
        """Import the app and serve requests until the socket ends, which ends the process. Return in each worker."""
        for fd in _RESERVED:  # lest the app opens a file where a worker has its own
            _occupy(fd)
        _guard.become_subreaper()
        self._send("hello", **self._process.hello())
        self._preload()
        poll = select.poll()
        poll.register(REQUESTS, select.POLLIN)
        while True:
            if not poll.poll(_TICK_MS):
                self._end_strangers()
            elif self._answer():
                return

    def _preload(self) -> None:
        gc.disable()  # what is imported stays: collecting while it grows finds nothing
        before = resident_bytes()
        with ImportWatch(self._importing) as watch:
            failed = self._process.load_app(lambda stage: self._send("progress", stage=stage))
            took = watch.elapsed_ms()
        if failed is not None:
            del failed["kind"]  # that of a frame
            self._send("error", **failed)
            _exit(1)
        if not self._allow_threads:
            await_others(lambda stage: self._send("waiting", stage=stage))
        if serves_on_a_loop():
            from . import _loop as _  # here, so that its memory is shared

        self._process.ready = ready_body(self._process.max_frame)
        gc.collect()
        gc.freeze()  # a collection in a worker then leaves alone, and shared, what was imported
        self._inherited.look((REQUESTS, *_RESERVED, *self._process.owned()))
        memory = max(0, resident_bytes() - before)
        unfit = cuda_refusal() or refusal(self._allow_threads)
        self._send("ready", import_ms=took, memory_bytes=memory, unfit=unfit)

    def _importing(self, package: str, ms: float, memory: int) -> None:
        self._send("progress", stage=f"import {package}", ms=ms, memory_bytes=memory)

    def _answer(self) -> bool:
        """Answer one request, and return whether this is a worker now."""
        data, fds, flags, _ = socket.recv_fds(self._requests, _REQUEST, len(_TARGETS) + 1)
        if not data:
            _exit(0)  # without the app's exit handlers: what they would undo belongs to the workers
        try:
            request: Mapping[str, Any] = json.loads(data)
            if request["op"] == "reap":
                self._reap(int(request["pid"]))
                self._end_strangers()  # those of this worker: where many forks are asked for, no tick comes
            elif flags & socket.MSG_CTRUNC or len(fds) != len(_TARGETS):
                self._send("failed", detail=f"{len(fds)} descriptors came, not {len(_TARGETS)}")
            else:
                return self._fork(int(request["worker"]), fds)
        finally:
            for fd in fds:
                _close(fd)
        return False

    def _fork(self, worker: int, fds: Sequence[int]) -> bool:
        unfit = refusal(self._allow_threads)
        if unfit:
            self._send("unfit", detail=unfit)
            return False
        guard = self._process.guard
        guard.passing = True
        try:
            pid = _fork()
        except OSError as exc:
            self._send("failed", detail=f"fork: {exc}")
            return False
        finally:
            guard.passing = False
        if pid == 0:
            self._become(worker, fds)
            return True
        self._workers.add(pid)
        try:
            os.setpgid(pid, pid)  # as the worker does: whoever comes first
        except OSError:
            pass
        try:
            pidfd = os.pidfd_open(pid)
        except (OSError, AttributeError) as exc:
            _kill(pid, signal.SIGKILL)
            self._workers.discard(pid)
            _waitpid(pid, 0)
            self._send("unfit", detail=f"the system has no process descriptors: {exc}")
            return False
        socket.send_fds(self._requests, [encode_fields({"kind": "forked", "pid": pid})], [pidfd])
        os.close(pidfd)
        return False

    def _become(self, worker: int, fds: Sequence[int]) -> None:
        """Turn this process, just forked, into a worker, as if it had been started as one."""
        process = self._process
        os.setpgid(0, 0)
        self._requests.detach()
        for fd, target in zip(fds, _TARGETS):
            os.dup2(fd, target, inheritable=target in (1, 2))
        process.calls.control.open()
        if process.words.fd is not None:
            os.dup2(2, process.words.fd, inheritable=False)
        _guard.arm_lifeline()
        process.guard.owned = process.owned()
        self._inherited.part()
        process.writer.attached = True
        process.output.write_through(False)
        os.environ["CHARMER_WORKER_ID"] = str(worker)
        own_state()
        gc.enable()

    def _reap(self, pid: int) -> None:
        """Tell how a worker ended. It was left unreaped until now, so that its number stayed its own."""
        if pid not in self._workers:
            self._send("failed", detail=f"{pid} is no worker of this zygote")
            return
        self._workers.discard(pid)
        _, status = _waitpid(pid, 0)  # asked only after its end
        self._send("reaped", status=status)

    def _end_strangers(self) -> None:
        """End what dead workers have left behind: it falls to the zygote as the nearest subreaper."""
        for pid in _children():
            if pid not in self._workers:
                _kill(pid, signal.SIGKILL)
                _waitpid(pid, os.WNOHANG)  # or at the next tick

    def _send(self, kind: str, **fields: object) -> None:
        try:
            self._requests.send(encode_fields({"kind": kind, **fields}))
        except OSError as exc:
            if exc.errno != errno.EMSGSIZE:
                raise
            short = {name: cut_middle(text, _SHORT) for name, text in fields.items() if isinstance(text, str)}
            self._requests.send(encode_fields({"kind": kind, **short}))


def _children() -> List[int]:
    """List the processes below this one that have not been reaped.

    Not by way of open: a codec loaded now would be memory that each worker has for itself.
    """
    try:
        fd = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # the kernel was built without
        return []
    try:
        found = b""
        while data := os.read(fd, _LISTED):
            found += data
    finally:
        os.close(fd)
    return [int(pid) for pid in found.split()]


def _leave(code: int) -> NoReturn:
    """End a worker like the interpreter does, but for taking apart what it shares with the others, which takes long."""
    steps: Sequence[Callable[[], object]] = (
        getattr(threading, "_shutdown", lambda: None),
        getattr(atexit, "_run_exitfuncs", lambda: None),
        sys.stdout.flush,
        sys.stderr.flush,
    )
    for step in steps:
        try:
            step()
        except BaseException as exc:
            _guard_report(exc)
    _exit(code)


def _guard_report(exc: BaseException) -> None:
    sys.stderr.write(traceback_text(exc))


def _occupy(fd: int) -> None:
    if _guard.is_open(fd):
        return
    null = os.open(os.devnull, os.O_RDWR)
    if null != fd:
        os.dup2(null, fd, inheritable=False)
        os.close(null)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:  # it has taken the place of another
        pass
