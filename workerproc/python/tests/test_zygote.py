"""Workers that are forks of a zygote: they have a control socket each, and are served as any other."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import tempfile
import unittest
from types import TracebackType
from typing import Any, Dict, List, Optional, Tuple, Type

from tests.harness import APPS, CANCEL_SIGNAL, PATIENCE, RUNTIME, Got, Worker, frame


class Forked(Worker):
    """A worker that a zygote has forked; the zygote reaps it."""

    def __init__(self, zygote: Zygote, fds: Tuple[int, int, int, int], control: socket.socket, pid: int) -> None:
        self._inbox = bytearray()
        self._spent: Optional[int] = None
        self._zygote = zygote
        self.to_worker, self.from_worker, self.stack, self.lifeline = fds
        self.control = control
        self.out = tempfile.TemporaryFile()
        self.err = zygote.err
        self.pid = pid

    def wait(self, after: int = 0) -> int:
        """Wait until the process has ended, and have it reaped; return as of a Worker."""
        if self._spent is None:
            self._zygote.await_end(self.pid)
            status = self._zygote.ask({"op": "reap", "pid": self.pid})[0]["status"]
            self._spent = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self._spent


class Zygote:
    """One zygote, as charmer runs it. A context manager."""

    def __init__(self, app: str) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, self.lifeline = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        self.err = tempfile.TemporaryFile()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (theirs.detach(), life, null)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CHARMER_", "PYTHON"))}
        environment["CHARMER_WORKER_APP"] = app
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, str(RUNTIME), "zygote"],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, self.err.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, self.err.fileno(), 2),
                *((os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(high, (3, 6, 7))),
            ],
            setpgroup=0,
        )
        for fd in (*high, life, null):
            os.close(fd)
        self._ends: Dict[int, int] = {}
        while (said := self.answer()[0])["kind"] != "ready":
            if said["kind"] == "error":
                raise AssertionError(said)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], exc: Optional[BaseException], tb: Optional[TracebackType]
    ) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.lifeline)
        for fd in self._ends.values():
            os.close(fd)
        self.requests.close()
        self.err.close()

    def answer(self) -> Tuple[Dict[str, Any], List[int]]:
        """Return the next packet, and the descriptors that came with it."""
        if not select.select([self.requests], [], [], PATIENCE)[0]:
            raise AssertionError("the zygote says nothing")
        data, fds, _, _ = socket.recv_fds(self.requests, 65536, 1)
        return json.loads(data), fds

    def ask(self, request: Dict[str, object], *fds: int) -> Tuple[Dict[str, Any], List[int]]:
        """Send a request and return the answer to it."""
        socket.send_fds(self.requests, [json.dumps(request).encode()], fds)
        return self.answer()

    def fork(self) -> Forked:
        """Fork a worker."""
        frames_in, to_worker = os.pipe()
        from_worker, frames_out = os.pipe()
        stack, stack_out = os.pipe()
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (frames_in, frames_out, self.err.fileno(), self.err.fileno(), stack_out, theirs.fileno())
        forked, (end,) = self.ask({"op": "fork", "worker": 7}, *fds)
        for fd in (frames_in, frames_out, stack_out):
            os.close(fd)
        theirs.close()
        self._ends[forked["pid"]] = end
        return Forked(self, (to_worker, from_worker, stack, os.dup(self.lifeline)), control, forked["pid"])

    def await_end(self, pid: int) -> None:
        """Wait for the end of a worker."""
        if not select.select([self._ends[pid]], [], [], PATIENCE)[0]:
            raise AssertionError(f"{pid} did not end")


@unittest.skipUnless(hasattr(os, "pidfd_open"), "the system has no process descriptors")
class Forks(unittest.TestCase):
    def fork(self, zygote: Zygote) -> Forked:
        worker = zygote.fork()
        self.addCleanup(worker.control.close)
        self.addCleanup(worker.out.close)
        for fd in (worker.to_worker, worker.from_worker, worker.stack, worker.lifeline):
            self.addCleanup(os.close, fd)
        self.assertEqual(worker.until("HELLO")[1].body["cancel_signal"], int(CANCEL_SIGNAL))
        worker.ready()
        return worker

    def test_each_is_cancelled_on_a_socket_of_its_own(self) -> None:
        with Zygote(str(APPS / "cancels.py")) as zygote:
            workers = [self.fork(zygote) for _ in range(3)]
            for worker in workers:
                worker.start("hang", 1, how="sleep")
                worker.heard("begun")
            for worker in workers[:2]:
                self.assertEqual(worker.cancel_until_answered(1)[1].body["kind"], "cancelled")
                worker.start("count", 2, stream=1, to=2)
                worker.heard("item 1")
                worker.grant(2, 10)
                self.assertEqual(worker.until("RESULT")[1], Got("RESULT", 2, None))
            self.assertTrue(workers[2].is_silent())
            self.assertNotIn("asyncio", workers[0].call("modules", 3).body)
            workers[0].send(frame("STOP", 0))
            self.assertEqual(workers[0].wait(), 0)

    def test_each_has_an_event_loop_of_its_own(self) -> None:
        with Zygote(str(APPS / "side.py")) as zygote:
            workers = [self.fork(zygote) for _ in range(2)]
            for worker in workers:
                worker.start("wait", 1)
                worker.heard("a waits")
                worker.start("thread_loops", 2)
                worker.heard("begun")
            for worker in workers:
                self.assertEqual(worker.cancel_until_answered(2)[1].body["kind"], "cancelled")
                worker.start("release", 3)
                self.assertEqual(worker.replies(2)[1].kind, "RESULT")
                worker.send(frame("STOP", 0))
                worker.rest()
                self.assertEqual(worker.wait(), 0)


if __name__ == "__main__":
    unittest.main()
