"""The threads that an import leaves, as the zygote sees them."""

from __future__ import annotations

import os
import threading
import time
import unittest
from typing import List

from charmer import _threads

from .harness import PATIENCE


def linger(until: threading.Event) -> None:
    until.wait()


@unittest.skipUnless(os.path.isdir("/proc/self/task"), "Linux tells about threads")
class Threads(unittest.TestCase):
    def setUp(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(os.listdir("/proc/self/task")) > 1:  # one that has been joined may still be ending
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)

    def test_one_that_stays_is_named_with_what_it_runs(self) -> None:
        until = threading.Event()
        thread = threading.Thread(target=linger, args=(until,), name="lingers")
        thread.start()
        try:
            self.assertIn(f"left 1 threads, whose locks a fork would inherit: 'lingers' (runs {__name__}.linger)", _threads.refusal(False))
            self.assertEqual(_threads.refusal(True), "")
        finally:
            until.set()
            thread.join()

    def test_those_that_end_are_waited_for(self) -> None:
        until = threading.Event()
        thread = threading.Thread(target=linger, args=(until,), name="ends")
        thread.start()
        told: List[str] = []

        def report(stage: str) -> None:
            told.append(stage)
            until.set()

        _threads.await_others(report)
        thread.join()
        self.assertEqual(told, [f"wait for threads: 'ends' (runs {__name__}.linger)"])
        self.assertEqual(_threads.refusal(False), "")

    def test_a_native_one_that_is_known_to_be_safe_to_lose_does_not_count(self) -> None:
        seen: List[str] = []
        named, ended = threading.Event(), threading.Event()

        def native() -> None:
            with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w", encoding="ascii") as comm:
                comm.write(seen[0])
            named.set()
            ended.wait()

        for name, counts in (("jemalloc_bg_thd", False), ("other_bg_thd", True)):
            seen[:] = [name]
            named.clear()
            ended.clear()
            import _thread

            _thread.start_new_thread(native, ())  # of which the threading module knows nothing
            named.wait()
            self.assertEqual(name in _threads.refusal(False), counts)
            ended.set()
            _threads.await_others(lambda _: None)


if __name__ == "__main__":
    unittest.main()
