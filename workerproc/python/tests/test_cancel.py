"""Cancelling calls in plain code, over the control socket of a real worker."""

from __future__ import annotations

import os
import unittest

from tests.harness import APPS, CANCEL_SIGNAL, KINDS, Got, Worker, envelope, frame, lines

APP = str(APPS / "cancels.py")


class WithWorker(unittest.TestCase):
    """Gives each test a worker that serves cancels.py, and checks afterwards that it is as healthy as before."""

    def setUp(self) -> None:
        self.worker = Worker(APP)
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.worker.ready()

    def healthy(self, call_id: int = 1000) -> None:
        self.assertEqual(self.worker.call("echo", call_id, value=["healthy"]), Got("RESULT", call_id, ["healthy"]))


class Plain(WithWorker):
    def test_a_call_ends_wherever_it_is(self) -> None:
        for number, how in enumerate(("loop", "try", "with", "printing", "sleep", "socket", "program", "lock", "except"), 1):
            with self.subTest(how):
                self.worker.start("hang", number, how=how)
                self.worker.heard("begun")
                body = self.worker.cancel_until_answered(number)[1].body
                self.assertEqual((body["kind"], body["type"]), ("cancelled", "charmer.Cancelled"))
                self.assertNotIn("started", body)
                self.assertIn("cancels.py", body["traceback"])
                self.assertNotIn("_calls.py", body["traceback"])
        self.healthy()

    def test_what_surrounds_a_loop_is_left_in_good_order(self) -> None:
        for number, how in enumerate(("try", "with"), 1):
            with self.subTest(how):
                self.worker.start("hang", number, how=how)
                self.worker.heard("begun")
                self.worker.computes()
                self.assertEqual(lines(self.worker.cancel_until_answered(number)[0], "stdout"), ["closed"])
        self.healthy()

    def test_a_cancel_is_not_lost_in_a_finaliser(self) -> None:
        self.worker.start("hang", 1, how="finaliser")
        self.worker.heard("finalising")
        self.assertEqual(self.worker.cancel_until_answered(1)[1].body["kind"], "cancelled")
        self.healthy()

    def test_what_the_code_makes_of_it_is_the_answer(self) -> None:
        self.worker.start("swallow", 1)
        self.worker.heard("begun")
        self.assertEqual(self.worker.cancel_until_answered(1)[1], Got("RESULT", 1, "swallowed, True"))
        self.worker.start("raise_other", 2)
        self.worker.heard("begun")
        body = self.worker.cancel_until_answered(2)[1].body
        self.assertEqual((body["kind"], body["type"], body["message"]), ("exception", "ValueError", "instead"))
        self.healthy()

    def test_one_that_the_code_raises_itself_is_an_exception(self) -> None:
        body = self.worker.call("raise_own", 3).body
        self.assertEqual((body["kind"], body["type"]), ("exception", "charmer.Cancelled"))

    def test_a_session_hook_is_cancelled_like_a_command(self) -> None:
        body = b'{"hook":"session_start","request_id":"r","session":{"id":"slow","state":"new"},"timeout_ms":1}'
        self.worker.send(frame("CALL", 1, body))
        self.worker.heard("begun")
        self.assertEqual(self.worker.cancel_until_answered(1)[1].body["kind"], "cancelled")
        self.healthy()

    def test_one_that_has_not_begun_never_does(self) -> None:
        self.worker.cancel(2)
        self.worker.send(*(frame("CALL", n, envelope("echo", {"value": n})) for n in (1, 2, 3)))
        replies = self.worker.replies(3)
        self.assertEqual((replies[1].body, replies[3].body), (1, 3))
        self.assertEqual((replies[2].kind, replies[2].body["kind"], replies[2].body["started"]), ("ERROR", "cancelled", False))

    def test_one_that_was_sent_ahead_never_begins(self) -> None:
        calls = [frame("CALL", n, envelope("hang", {"how": "sleep"})) for n in (1, 2)]
        self.worker.send(*calls, frame("CALL", 3, envelope("echo", {"value": 3})))
        self.worker.heard("begun")
        self.worker.tell(KINDS["CANCEL"], 2, 0)
        self.worker.cancel(1)
        replies = self.worker.replies(3)
        self.assertNotIn("started", replies[1].body)
        self.assertIs(replies[2].body["started"], False)
        self.assertEqual(replies[3].body, 3)

    def test_what_comes_too_late_and_what_is_none_does_nothing(self) -> None:
        self.worker.call("echo", 5)
        for call_id in (5, 4, 0):
            self.worker.cancel(call_id)
        self.worker.control.send(b"short")
        self.worker.tell(0x77, 6, 0)
        self.worker.signal()
        self.assertEqual(self.worker.call("echo", 6, value=6).body, 6)
        self.healthy()

    def test_a_cancel_that_meets_the_end_of_its_call_does_no_harm(self) -> None:
        kinds = set()
        for number in range(1, 3001):
            self.worker.start("echo", number, value=number)
            self.worker.cancel(number)
            logs, got = self.worker.reply()
            self.assertEqual((logs, got.id), ([], number))
            if got.kind == "RESULT":
                self.assertEqual(got.body, number)
            else:
                self.assertEqual(got.body["kind"], "cancelled")
            kinds.add(got.kind)
        self.healthy(4000)

    def test_calls_sent_ahead_are_not_hit_by_the_cancel_of_another(self) -> None:
        for first in range(1, 3000, 3):
            self.worker.send(*(frame("CALL", n, envelope("echo", {"value": n})) for n in range(first, first + 3)))
            self.worker.cancel(first + 1)
            for number in range(first, first + 3):
                got = self.worker.reply()[1]
                self.assertEqual(got.id, number)
                if got.kind != "RESULT":
                    self.assertEqual((number, got.body["kind"]), (first + 1, "cancelled"))
        self.healthy(4000)


class Shields(WithWorker):
    def test_a_cancel_waits_for_the_end_of_the_outermost(self) -> None:
        for number, nested in ((1, False), (3, True)):
            self.worker.start("shielded", number, nested=nested)
            self.worker.heard("begun")
            self.assertEqual(self.worker.cancel_until_answered(number)[1].body["kind"], "cancelled")
            wanted = ["inner ended"] * nested + ["whole", "finally"]
            self.assertEqual(self.worker.call("kept", number + 1).body, wanted)

    def test_one_that_is_left_open_ends_with_its_call(self) -> None:
        self.worker.call("leak_shield", 1)
        self.worker.start("hang", 2, how="loop")
        self.worker.heard("begun")
        self.assertEqual(self.worker.cancel_until_answered(2)[1].body["kind"], "cancelled")


class Socket(unittest.TestCase):
    def test_hello_tells_of_the_signal_if_there_is_a_socket(self) -> None:
        for control, wanted in ((True, int(CANCEL_SIGNAL)), (False, None)):
            with Worker(APP, control=control) as worker:
                hello = worker.until("HELLO")[1].body
                self.assertEqual(hello.get("cancel_signal"), wanted)
                worker.ready()
                self.assertEqual(worker.call("echo", 1, value=1).body, 1)

    def test_a_child_does_not_react(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            self.assertEqual(worker.call("child_sleeps", 1).body, 0)

    def test_an_app_that_takes_the_signal_away_is_answered(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.call("take_signal", 1)
            worker.cancel(2)
            self.assertEqual(worker.call("echo", 2, value=2).body, 2)

    def test_a_signal_alone_does_nothing(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            for _ in range(100):
                os.kill(worker.pid, CANCEL_SIGNAL)
            self.assertEqual(worker.call("echo", 1, value=1).body, 1)
            worker.send(frame("STOP", 0))
            self.assertEqual(worker.wait(), 0)

    def test_the_end_of_the_socket_is_not_that_of_the_worker(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.control.shutdown(2)
            worker.signal()
            self.assertEqual(worker.call("count", 1, to=3).body, [0, 1, 2])
            self.assertEqual(lines(worker.call_with_logs("count", 2, to=1)[0], "stdout"), ["item 0", "closing"])


if __name__ == "__main__":
    unittest.main()
