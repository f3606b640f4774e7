"""Forks, hangs, crashes, and the death of charmer."""

from __future__ import annotations

import os
import select
import signal
import time
import unittest

from tests.harness import APPS, PATIENCE, Got, Worker, envelope, frame, lines

APP = str(APPS / "forks.py")


def died(pid: int) -> bool:
    """Wait for the end of a process that need not be a child of this one."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        raise unittest.SkipTest("no os.pidfd_open here")
    try:
        fd: int = opener(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], PATIENCE)[0])
    finally:
        os.close(fd)


class Forks(unittest.TestCase):
    def setUp(self) -> None:
        self.worker = Worker(APP)
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.worker.ready()

    def test_a_call_is_answered_once_though_it_returns_twice(self) -> None:
        self.assertEqual(self.worker.call("fork_and_return", 1), Got("RESULT", 1, "parent, child ended with 0"))
        self.assertEqual(self.worker.call("fork_and_return", 2), Got("RESULT", 2, "parent, child ended with 0"))
        self.assertEqual(self.worker.stdout(), "the child prints\n" * 2)
        self.worker.send(frame("STOP", 0))
        self.assertEqual(self.worker.rest(), [])
        self.assertEqual(self.worker.wait(), 0)

    def test_what_a_child_raises_goes_to_its_stderr(self) -> None:
        self.assertEqual(self.worker.call("fork_and_raise", what="exit").body, "parent, child ended with 7")
        self.assertEqual(self.worker.stderr(), "")
        self.assertEqual(self.worker.call("fork_and_raise", what="raise").body, "parent, child ended with 1")
        self.assertIn("ValueError: raised in the child", self.worker.stderr())

    def test_a_line_that_had_begun_is_the_parents(self) -> None:
        logs, _ = self.worker.call_with_logs("fork_mid_line")
        self.assertEqual(lines(logs, "stdout"), ["begun and ended by the parent"])
        self.assertEqual(self.worker.stdout(), " and ended by the child\n")

    def test_a_child_holds_no_descriptor_of_the_worker(self) -> None:
        held: str = self.worker.call("fork_looks").body
        self.assertEqual(self.worker.pipes_in(held), set())
        self.assertEqual(held.count(self.worker.stderr_link()), 1)

    def test_descriptors_that_a_child_takes_for_itself_stay_its_own(self) -> None:
        self.assertEqual(self.worker.call("fork_twice").body, 0)

    def test_multiprocessing_works(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                logs, got = self.worker.call_with_logs("pool_of", method=method)
                self.assertEqual((logs, got.body), ([], [1, 4, 9]))
            if method == "fork":
                self.assertEqual(self.worker.stdout().count("squaring"), 3)


class Lifeline(unittest.TestCase):
    def test_an_idle_worker_dies_with_charmer(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.cut_lifeline()
            self.assertEqual(worker.wait(), -signal.SIGKILL)

    def test_a_worker_stuck_in_c_dies_with_charmer(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.send(frame("CALL", 1, envelope("hang_in_c", {})))
            wait_for_stack(worker, "hang_in_c")
            worker.cut_lifeline()
            self.assertEqual(worker.wait(), -signal.SIGKILL)

    def test_what_the_worker_forked_dies_with_charmer(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            child = worker.call("fork_sleeper").body
            worker.cut_lifeline()
            self.assertEqual(worker.wait(), -signal.SIGKILL)
            self.assertTrue(died(child))

    def test_a_worker_that_comes_too_late_ends_at_once(self) -> None:
        with Worker(APP) as worker:
            worker.cut_lifeline()
            self.assertIn(worker.wait(), (70, -signal.SIGKILL))

    def test_a_worker_whose_reader_has_gone_ends(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            os.close(worker.from_worker)
            worker.from_worker = -1
            worker.send(frame("PING", 1))
            self.assertEqual(worker.wait(), 70)
            self.assertIn("cannot write frames: BrokenPipeError", worker.stderr())

    def test_a_worker_whose_pipes_the_app_has_closed_ends(self) -> None:
        for fd, said in ((3, "cannot read frames"), (4, "cannot write frames")):
            with self.subTest(fd), Worker(APP) as worker:
                worker.ready()
                worker.send(frame("CALL", 1, envelope("close_descriptor", {"fd": fd})))
                worker.rest()
                self.assertEqual(worker.wait(), 70)
                self.assertIn(said, worker.stderr())


class Stacks(unittest.TestCase):
    def test_the_stack_of_a_worker_that_hangs_is_shown(self) -> None:
        for command in ("hang_in_python", "hang_in_c"):
            with self.subTest(command), Worker(APP) as worker:
                worker.ready()
                worker.send(frame("CALL", 1, envelope(command, {})))
                wait_for_stack(worker, command)

    def test_asking_for_the_stack_does_not_disturb_the_call(self) -> None:
        with Worker("charmer.demo") as worker:
            number = worker.until("READY")[0][0].body["stack_signal"]
            worker.send(frame("CALL", 1, envelope("sleep", {"seconds": 0.2})))
            for _ in range(5):
                os.kill(worker.pid, number)
                worker.read_stack("most recent call first")
            self.assertGreaterEqual(worker.reply()[1].body, 0.2)

    def test_a_crash_leaves_the_stack_in_stderr_even_if_that_was_closed(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.send(frame("CALL", 1, envelope("segfault", {})))
            self.assertEqual(worker.wait(), -signal.SIGSEGV)
            self.assertIn("Segmentation fault", worker.stderr())
            self.assertIn("in segfault", worker.stderr())


def wait_for_stack(worker: Worker, function: str) -> None:
    """Ask for the stack until the worker is in a function, which must be one that no signal ends."""
    deadline = time.monotonic() + PATIENCE
    text = ""
    while f"in {function}" not in text:
        if time.monotonic() > deadline:
            raise AssertionError(f"never in {function}, but: {text[-2000:]}")
        os.kill(worker.pid, signal.SIGRTMIN + 5)
        text += worker.read_stack("_worker.py")


if __name__ == "__main__":
    unittest.main()
