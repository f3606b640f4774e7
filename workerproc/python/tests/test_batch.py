"""Batches, over the pipes of a real worker."""

from __future__ import annotations

import unittest
from typing import Any, Dict

from tests.harness import APPS, Got, envelope, frame, lines
from tests.test_loop import WithWorker as WithLoop


class WithWorker(WithLoop):
    app = str(APPS / "batches.py")

    def send(self, command: str, *args: Dict[str, Any], first: int = 1) -> None:
        self.worker.send(*(frame("CALL", n, envelope(command, one)) for n, one in enumerate(args, first)))


class Batches(WithWorker):
    def test_a_batch_starts_when_it_is_full_and_each_call_gets_its_own(self) -> None:
        self.send("full", {"n": 1}, {"what": "raise"}, {"what": "code"})
        self.assertTrue(self.worker.is_silent())
        self.send("full", {"what": "complex"}, first=4)
        self.worker.heard("batch of 4")
        replies = self.worker.replies(4)
        self.assertEqual(replies[1].body, [4, {"n": 1}])
        self.assertEqual((replies[2].body["kind"], replies[2].body["message"]), ("exception", "for this one"))
        self.assertEqual((replies[3].body["kind"], replies[3].body["status"]), ("command_error", 410))
        self.assertEqual((replies[4].body["kind"], replies[4].body["message"]), ("bad_result", "result is a complex, which JSON cannot carry"))
        self.stop()

    def test_a_batch_starts_when_its_first_call_has_waited(self) -> None:
        logs, got = self.worker.call_with_logs("soon", n=1)
        self.assertEqual((lines(logs, "stdout"), got), (["batch of 1"], Got("RESULT", 1, [1, {"n": 1}])))

    def test_what_comes_meanwhile_forms_the_next(self) -> None:
        self.send("slow", {"n": 1})
        self.worker.heard("batch of 1")
        self.send("slow", *({"n": n} for n in range(2, 7)), first=2)
        self.assertEqual(self.worker.call("echo", 20).kind, "RESULT")
        self.worker.start("open_gate", 21)
        replies = self.worker.replies(7)
        self.assertEqual([replies[n].body[0] for n in range(1, 7)], [1, 4, 4, 4, 4, 1])

    def test_one_that_fits_no_batch_fails_all_of_it(self) -> None:
        cases = {
            "short": ("bad_result", "a batch of 2 calls returned a list of 1 results"),
            "none": ("bad_result", "a batch of 2 calls returned no list of as many results, but a NoneType"),
            "tuple": ("bad_result", "a batch of 2 calls returned no list of as many results, but a tuple"),
            "raise": ("exception", "'all of them'"),
            "current": ("exception", "charmer.current() works inside of a call only, and none runs here"),
        }
        for number, (what, wanted) in enumerate(cases.items()):
            self.send("wrong", {"what": what}, {}, first=1 + 2 * number)
            for got in self.worker.replies(2).values():
                self.assertEqual((got.body["kind"], got.body["message"]), wanted)
        self.healthy()

    def test_a_call_that_is_cancelled_while_it_waits_is_taken_out(self) -> None:
        self.send("full", {"n": 1}, {"n": 2})
        self.assertEqual(self.worker.call("echo", 3).kind, "RESULT")
        self.worker.cancel(1)
        got = self.worker.reply()[1]
        self.assertEqual((got.id, got.body["kind"], got.body["started"]), (1, "cancelled", False))
        self.send("full", {}, {}, {}, first=5)
        self.assertEqual(self.worker.replies(4)[2].body, [4, {"n": 2}])

    def test_a_call_that_is_cancelled_while_it_runs_is_answered_and_the_last_ends_the_batch(self) -> None:
        self.send("slow", {"n": 1}, {"n": 2})
        self.worker.heard("batch of 2")
        self.worker.cancel(1)
        got = self.worker.reply()[1]
        self.assertEqual((got.id, got.body["kind"]), (1, "cancelled"))
        self.assertNotIn("started", got.body)
        self.worker.start("open_gate", 4)
        self.assertEqual(self.worker.replies(2)[2].body, [2, {"n": 2}])
        self.send("stuck", {}, first=10)
        self.worker.heard("begun")
        self.worker.cancel(10)
        self.assertEqual(self.worker.reply()[1].body["kind"], "cancelled")
        self.worker.heard("cancelled")
        self.send("hold", {}, {}, first=11)
        self.worker.heard("holding")
        self.worker.cancel(11)
        self.worker.cancel(12)
        self.assertEqual({got.body["kind"] for got in self.worker.replies(2).values()}, {"cancelled"})
        self.healthy()
        self.stop()


if __name__ == "__main__":
    unittest.main()
