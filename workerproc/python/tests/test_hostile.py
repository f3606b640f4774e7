"""Apps whose objects, exceptions and patches turn against the runtime: each call is answered all the same."""

from __future__ import annotations

import unittest

from tests.harness import APPS, Got, Worker, envelope, frame

APP = str(APPS / "hostile.py")


class WithWorker(unittest.TestCase):
    def setUp(self) -> None:
        self.worker = Worker(APP)
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.worker.ready()

    def healthy(self) -> None:
        self.assertEqual(self.worker.call("echo", 77, value=["healthy"]), Got("RESULT", 77, ["healthy"]))


class Exceptions(WithWorker):
    def test_those_that_hide_what_they_are_are_answered(self) -> None:
        cases = {"masked": "hostile.Masked", "nameless": "Nameless", "broken call": "hostile.BrokenCall"}
        for what, kind in cases.items():
            with self.subTest(what):
                body = self.worker.call("raises", what=what).body
                self.assertEqual((body["kind"], body["type"]), ("exception", kind))
                self.assertNotIn("exiting", body)
                self.healthy()

    def test_a_command_error_is_judged_by_what_is_sent(self) -> None:
        body = self.worker.call("raises", what="fickle").body
        self.assertEqual((body["kind"], body["code"], body["status"]), ("command_error", "fickle", 404))

    def test_those_from_a_signal_handler_between_calls_are_logged(self) -> None:
        for what in ("masked", "broken call"):
            with self.subTest(what):
                self.worker.call("raises_later", what=what)
                got = self.worker.next()
                assert got is not None
                self.assertEqual(got.body["message"], "a signal handler raised between calls")
                self.worker.call_with_logs("echo", value=1)
                self.healthy()

    def test_a_forked_child_that_raises_them_ends(self) -> None:
        for what, code in (("masked", 1), ("closed exit", 1), ("masked exit", 3), ("great exit", 255)):
            with self.subTest(what):
                self.assertEqual(self.worker.call("raises_in_child", what=what), Got("RESULT", 1, code))
                self.healthy()


class Results(WithWorker):
    def test_those_that_hide_what_they_are_are_named(self) -> None:
        cases = {
            "mock of a dict": "result[0] is an unittest.mock.Mock, which JSON cannot carry",
            "mock of a list": "result is an unittest.mock.Mock, which JSON cannot carry",
            "mock of an int as key": "result has a key that is an unittest.mock.Mock, which JSON cannot carry",
            "hidden": "result.a is a hostile.Hidden, which JSON cannot carry",
            "hidden class": "result[0] is a HiddenClass, which JSON cannot carry",
        }
        for what, message in cases.items():
            with self.subTest(what):
                body = self.worker.call("returns", what=what).body
                self.assertEqual((body["kind"], body["message"]), ("bad_result", message))
                self.healthy()

    def test_those_that_cannot_be_looked_into_are_refused_with_what_was_raised(self) -> None:
        rude = "hostile.Rude: <str() of this hostile.Rude fails>"
        cases = {
            "closed dict": rude,
            "closed list": rude,
            "torn dict": "ValueError: items must return 2-tuples",
            "bad key": "ValueError: Out of range float values are not JSON compliant",
        }
        for what, raised in cases.items():
            with self.subTest(what):
                body = self.worker.call("returns", what=what).body
                self.assertEqual((body["kind"], body["type"]), ("bad_result", raised.split(":")[0]))
                self.assertEqual(body["message"][:80], f"result cannot be encoded as JSON: {raised}"[:80])
                self.healthy()


class Patches(WithWorker):
    def test_an_app_that_takes_the_standard_library_away_is_still_answered(self) -> None:
        self.worker.call("patch")
        self.healthy()
        body = self.worker.call("returns", what="key to quote").body
        self.assertEqual(body["message"], 'result["a b"][0] is nan, which JSON cannot carry')
        self.assertIn("ValueError: plain", self.worker.call("raises", what="plain").body["traceback"])
        self.assertTrue(0 < self.worker.call("remaining").body <= 30)
        self.assertEqual(self.worker.call("lower_recursion_limit").body, None)
        self.assertEqual(self.worker.call("raises_in_child", what="exit").body, 3)
        self.worker.send(frame("CALL", 5, b' {"command":"echo","args":{"value":1}} '))
        self.assertEqual(self.worker.reply()[1], Got("RESULT", 5, 1))
        self.worker.call("raises", what="exit")
        self.assertEqual(self.worker.rest(), [])
        self.assertEqual(self.worker.wait(), 3)

    def test_a_stream_out_of_step_still_ends_the_worker(self) -> None:
        self.worker.call("patch")
        self.worker.send(frame("CALL", 1, b'{"command":'))
        self.assertEqual(self.worker.rest(), [])
        self.assertEqual(self.worker.wait(), 70)
        self.assertRegex(self.worker.stderr(), "^charmer worker: body of a CALL is not JSON: .*\n$")


class Exits(unittest.TestCase):
    def test_one_that_hides_its_code_is_answered_and_then_obeyed(self) -> None:
        for what, code in (("closed exit", 1), ("masked exit", 3), ("great exit", 255)):
            with self.subTest(what), Worker(APP) as worker:
                worker.ready()
                worker.send(frame("CALL", 1, envelope("raises", {"what": what})))
                body = worker.reply()[1].body
                self.assertEqual((body["kind"], body["exiting"]), ("exception", True))
                self.assertEqual(worker.rest(), [])
                self.assertEqual(worker.wait(), code)


if __name__ == "__main__":
    unittest.main()
