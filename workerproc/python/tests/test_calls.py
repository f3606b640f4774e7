"""Calls and their replies, over the pipes of a real worker."""

from __future__ import annotations

import os
import signal
import sys
import unittest
from typing import Dict

from tests.harness import APPS, RUNTIME, Got, Worker, envelope, frame, golden, lines

APP = str(APPS / "calls.py")


class WithWorker(unittest.TestCase):
    """Gives each test a worker that serves calls.py, and checks afterwards that it is as healthy as before."""

    def setUp(self) -> None:
        self.worker = Worker(APP)
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.worker.ready()

    def healthy(self) -> None:
        self.assertEqual(self.worker.call("echo", 77, value=["healthy"]), Got("RESULT", 77, ["healthy"]))


class Replies(WithWorker):
    def test_golden_calls_and_pings_are_answered_in_turn(self) -> None:
        frames = golden()
        names = ("call.frame", "ping.frame", "call-plain.frame", "call-hook.frame")
        self.worker.send(*(frames[name][0] for name in names))
        answers = [self.worker.reply()[1] for _ in names]
        wanted = [("ERROR", 7), ("PONG", 9), ("ERROR", 1), ("ERROR", 2)]
        self.assertEqual([(got.kind, got.id) for got in answers], wanted)
        self.assertEqual({got.body["kind"] for got in answers if got.body}, {"unknown_command"})
        self.healthy()

    def test_many_calls_sent_ahead_are_answered_in_order(self) -> None:
        calls = [frame("CALL", n, envelope("echo", {"value": n})) for n in range(1, 2001)]
        self.worker.send(*calls)
        for number in range(1, 2001):
            self.assertEqual(self.worker.reply()[1], Got("RESULT", number, number))

    def test_sixteen_mebibytes_go_in_and_out(self) -> None:
        text = "é" * (8 << 20)
        self.assertEqual(self.worker.call("size", text=text).body, 8 << 20)
        self.assertEqual(len(self.worker.call("blob", size=16 << 20).body), 16 << 20)
        self.healthy()

    def test_white_space_and_unknown_members_are_taken(self) -> None:
        body = b' {"command":"echo", "new":[1], "request_id":"r", "timeout_ms":1, "args":{"value":1}}\n'
        self.worker.send(frame("CALL", 3, body))
        self.assertEqual(self.worker.reply()[1], Got("RESULT", 3, 1))

    def test_unicode_goes_both_ways(self) -> None:
        value = {"ß": "🐍\u2028\0", "empty": ""}
        self.assertEqual(self.worker.call("echo", value=value).body, value)


class Arguments(WithWorker):
    def refused(self, command: str, **args: object) -> Dict[str, str]:
        self.worker.send(frame("CALL", 1, envelope(command, args)))
        got = self.worker.reply()[1]
        self.assertEqual((got.kind, got.body["kind"]), ("ERROR", "invalid_args"))
        return {error["pointer"]: error["detail"] for error in got.body["errors"]}

    def test_what_does_not_fit_is_pointed_at_and_nothing_runs(self) -> None:
        wrong = self.refused("leave", cod=1)
        self.assertEqual(wrong, {"/cod": "unknown argument", "/code": "is required"})
        self.assertEqual(self.refused("echo"), {"/value": "is required"})
        self.assertEqual(self.refused("mixed", b=1), {"/a": "is required"})
        self.healthy()

    def test_arguments_of_every_kind_reach_their_parameter(self) -> None:
        self.assertEqual(self.worker.call("mixed", a=1).body, [1, 2, 3, 4, {}])
        got = self.worker.call("mixed", d=40, c=30, b=20, a=10, z=90)
        self.assertEqual(got.body, [10, 20, 30, 40, {"z": 90}])
        self.assertEqual(self.worker.call("hidden", ignored=1).body, [1, [], {"ignored": 1}])

    def test_json_that_python_cannot_read_is_refused(self) -> None:
        before = b'{"command":"echo","request_id":"r","timeout_ms":1,"args":{"value":'
        cases = [b"[" * 200_000 + b"]" * 200_000]
        if hasattr(sys, "get_int_max_str_digits"):
            cases.append(b"9" * 5000)
        for value in cases:
            self.worker.send(frame("CALL", 4, before + value + b"}}"))
            got = self.worker.reply()[1]
            self.assertEqual((got.kind, got.id, got.body["kind"]), ("ERROR", 4, "invalid_args"))
            self.assertEqual(got.body["errors"][0]["pointer"], "")
            self.healthy()

    def test_numbers_that_are_too_large_for_a_float_are_pointed_at(self) -> None:
        too_large = "a number is too large for a float"
        deep = '{"a":[' * 200 + "-1E999" + "]}" * 200
        cases: Dict[str, Dict[str, str]] = {
            "1e400": {"/value": too_large},
            "9" * 400 + ".5": {"/value": too_large},
            "9" * 250 + "e99": {"/value": too_large},
            '[1, {"a/b": [1e308, 1e309]}, 1e-400]': {"/value/1/a~1b/1": too_large},
            '{"c": -1e00400, "d": [[2E+999]]}': {"/value/c": too_large, "/value/d/0/0": too_large},
            deep: {"/value" + "/a/0" * 48 + "/a": too_large},
            "[" + "1e999," * 20 + "1]": {**{f"/value/{n}": too_large for n in range(16)}, "": "and 4 more do not fit"},
        }
        for text, wanted in cases.items():
            with self.subTest(text[:60]):
                body = b'{"command":"echo","new":1e400,"args":{"value":' + text.encode() + b"}}"
                self.worker.send(frame("CALL", 1, body))
                got = self.worker.reply()[1]
                self.assertEqual((got.kind, got.body["kind"]), ("ERROR", "invalid_args"))
                self.assertEqual({error["pointer"]: error["detail"] for error in got.body["errors"]}, wanted)
        for text, value in (("1.5e308", 1.5e308), ('"1e400"', "1e400"), ("-1e-999", 0), ("9" * 400, int("9" * 400))):
            body = b'{"command":"echo","new":1e400,"args":{"value":' + text.encode() + b"}}"
            self.worker.send(frame("CALL", 1, body))
            self.assertEqual(self.worker.reply()[1], Got("RESULT", 1, value))

    def test_a_lone_surrogate_in_the_arguments_reaches_the_command(self) -> None:
        self.worker.send(frame("CALL", 4, envelope("size", {"text": "\ud800"})))
        self.assertEqual(self.worker.reply()[1].body, 1)

    def test_an_unknown_command_is_named(self) -> None:
        body = self.worker.call("no\ud800such").body
        self.assertEqual(body["kind"], "unknown_command")
        self.assertIn("such", body["message"])


class BadResults(WithWorker):
    def test_each_names_its_place_and_the_worker_lives_on(self) -> None:
        types = {
            **dict.fromkeys(("nan", "infinity", "cycle", "nan key"), "ValueError"),
            **dict.fromkeys(("surrogate", "surrogate key"), "UnicodeEncodeError"),
            "deep": "RecursionError",
        }
        cases = {
            "nan": "result.rows[3].score is nan, which JSON cannot carry",
            "infinity": "result[0] is -inf, which JSON cannot carry",
            "complex": 'result["a b"][0] is a complex, which JSON cannot carry',
            "object": "result[0] is an object, which JSON cannot carry",
            "class": "result.x is a type, which JSON cannot carry",
            "cycle": "result.a[1].self refers back to result.a, which JSON cannot carry",
            "deep": "result is nested 50001 levels deep, which is more than JSON encoding takes",
            "surrogate": "result.text has a lone surrogate (\\ud800 at 1), which JSON cannot carry",
            "surrogate key": "result[0] has a key with a lone surrogate (\\udc00 at 0), which JSON cannot carry",
            "tuple key": "result.m has a key that is a tuple, which JSON cannot carry",
            "nan key": "result has a key that is nan, which JSON cannot carry",
            "generator": "result is a generator, which JSON cannot carry",
        }
        for what, message in cases.items():
            with self.subTest(what):
                got = self.worker.call("returns", what=what)
                raised = types.get(what, "TypeError")
                self.assertEqual(got, Got("ERROR", 1, {"kind": "bad_result", "type": raised, "message": message}))
                self.healthy()

    def test_an_int_of_too_many_digits_is_named(self) -> None:
        if not hasattr(sys, "get_int_max_str_digits"):
            self.skipTest("this interpreter has no such limit")
        message = self.worker.call("returns", what="huge").body["message"]
        self.assertEqual(message, "result.n is an int of 16610 bits, which JSON cannot carry")

    def test_a_container_that_raises_is_answered(self) -> None:
        self.assertIn(self.worker.call("returns", what="evil").body["kind"], ("bad_result", "exception"))
        self.healthy()

    def test_what_json_does_carry_is_carried(self) -> None:
        wanted: Dict[str, object] = {"1": 1, "null": None, "2.5": "red", "shared": [[1], [1]]}
        wanted["empty"] = [[], {}, [], ""]
        self.assertEqual(self.worker.call("returns", what="good").body, wanted)

    def test_one_that_is_too_large_says_so(self) -> None:
        with Worker(APP, max_frame=4096) as worker:
            worker.ready()
            self.assertEqual(len(worker.call("blob", size=4096 - 5 - 2).body), 4089)
            got = worker.call("blob", size=4096 - 5 - 2 + 1)
            self.assertEqual((got.body["kind"], got.body["type"]), ("bad_result", "ValueError"))
            self.assertIn("4,097 bytes as a frame, and the largest allowed is 4,096", got.body["message"])
            self.assertEqual(worker.call("echo", value=1).body, 1)


    def test_one_that_is_nested_deeper_than_the_pool_reads_says_so(self) -> None:
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(1_000_000)  # this side reads it as well
        deepest = 100 if sys.version_info >= (3, 12) else 10_000  # those have a limit of their own, in C
        for levels, text, wide in ((deepest, "", 0), (deepest, "[{" * 20_000, 0), (3, "", 20_000)):
            self.assertEqual(self.worker.call("nested", levels=levels, text=text, wide=wide).kind, "RESULT")
        for levels in (10_001, 20_000):
            body = self.worker.call("nested", levels=levels, text="]" * 20_000).body
            raised = "ValueError" if deepest == 10_000 else "RecursionError"
            self.assertEqual((body["kind"], body["type"]), ("bad_result", raised))
            if deepest == 10_000:
                wanted = f"result is nested {levels:,} levels deep, and the deepest allowed is 10,000"
                self.assertEqual(body["message"], wanted)
            self.healthy()


class Exceptions(WithWorker):
    def test_type_message_and_the_apps_own_frames_are_told(self) -> None:
        body = self.worker.call("divide", a=1, b=0).body
        self.assertEqual((body["kind"], body["type"]), ("exception", "ZeroDivisionError"))
        self.assertEqual(body["message"], "float division by zero")
        self.assertTrue(body["traceback"].startswith('Traceback (most recent call last):\n  File "'), body["traceback"])
        self.assertIn("calls.py", body["traceback"])
        self.assertNotIn(str(RUNTIME / "charmer"), body["traceback"])
        self.healthy()

    def test_whatever_is_raised_is_answered(self) -> None:
        cases = {
            "rude": ("calls.Rude", "<str() of this calls.Rude fails>"),
            "interrupt": ("KeyboardInterrupt", ""),
            "generator exit": ("GeneratorExit", ""),
            "cancelled": ("asyncio.exceptions.CancelledError", ""),
            "memory": ("MemoryError", ""),
            "surrogate": ("ValueError", "a\\ud800b"),
            "base": ("BaseException", "base"),
        }
        for what, wanted in cases.items():
            with self.subTest(what):
                body = self.worker.call("raises", what=what).body
                self.assertEqual((body["type"], body["message"]), wanted)
                self.assertNotIn("exiting", body)
                self.healthy()

    def test_long_messages_and_tracebacks_are_cut(self) -> None:
        body = self.worker.call("raises", what="long").body
        self.assertLessEqual(len(body["message"].encode()), 32 << 10)
        self.assertLessEqual(len(body["traceback"].encode()), 32 << 10)
        self.assertIn("bytes cut)", body["message"])
        self.healthy()

    def test_recursion_without_end_is_answered(self) -> None:
        for command in ("recurse", "bounce"):
            body = self.worker.call(command).body
            self.assertEqual(body["type"], "RecursionError")
            self.assertLessEqual(len(body["traceback"].encode()), 32 << 10)
            self.assertTrue(body["traceback"].startswith("Traceback"))
            self.assertIn("RecursionError", body["traceback"][-200:])
            self.healthy()

    def test_the_cause_is_shown(self) -> None:
        text = self.worker.call("chained").body["traceback"]
        self.assertIn("KeyError: 'first'", text)
        self.assertIn("direct cause", text)

    def test_an_error_fits_the_smallest_frame(self) -> None:
        with Worker("charmer.demo", max_frame=2048) as worker:
            worker.ready()
            body = worker.call("fail", message="\0" * 300).body
            self.assertEqual(body["type"], "ValueError")
            self.assertEqual(worker.call("greet", **{f"x{n}": n for n in range(30)}).body["kind"], "invalid_args")
            self.assertEqual(worker.call("echo", value=1).body, 1)

    def test_a_command_error_brings_its_code_and_status(self) -> None:
        wanted = dict(kind="command_error", type="charmer.CommandError", message="not sold here")
        self.assertEqual(self.worker.call("coded").body, {**wanted, "code": "not_in_catalogue", "status": 404})
        self.assertEqual(self.worker.call("coded_below").body["type"], "calls.Subclassed")
        self.assertEqual(self.worker.call("coded", status=503).body["type"], "ValueError")
        self.assertEqual(self.worker.call("coded", code="No").body["type"], "ValueError")

    def test_a_command_error_that_was_bent_is_an_exception(self) -> None:
        body = self.worker.call("coded_badly").body
        self.assertEqual((body["kind"], body["type"], body["message"]), ("exception", "calls.Renamed", "it is gone"))


class Exits(unittest.TestCase):
    def test_a_system_exit_is_answered_and_then_obeyed(self) -> None:
        for what, code, message in (("exit", 3, "3"), ("exit text", 1, "good bye"), ("exit none", 0, "")):
            with self.subTest(what), Worker(APP) as worker:
                worker.ready()
                call = frame("CALL", 1, envelope("raises", {"what": what}))
                worker.send(call, frame("CALL", 2, envelope("echo", {"value": 1})))
                body = worker.reply()[1].body
                self.assertEqual((body["type"], body["message"], body["exiting"]), ("SystemExit", message, True))
                self.assertEqual(worker.rest(), [])
                self.assertEqual(worker.wait(), code)

    def test_an_exit_from_a_signal_handler_between_calls_is_obeyed(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.call("exit_on_term")
            self.assertEqual(worker.wait(after=signal.SIGTERM), 5)

    def test_an_interrupt_between_calls_ends_the_worker(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            self.assertEqual(worker.wait(after=signal.SIGINT), 130)

    def test_another_exception_from_a_signal_handler_between_calls_is_logged(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.call("alarm_later")
            got = worker.next()
            assert got is not None
            self.assertEqual((got.kind, got.id, got.body["level"], got.body["logger"]), ("LOG", 0, "error", "charmer"))
            self.assertEqual(got.body["message"], "a signal handler raised between calls")
            logs, reply = worker.call_with_logs("echo", value=1)
            self.assertIn("TimeoutError: rang", lines(logs, "log"))
            self.assertEqual(reply.body, 1)


class OutOfStep(unittest.TestCase):
    def test_a_stream_out_of_step_ends_the_worker(self) -> None:
        cases = {
            "length 4": b"\0\0\0\4\1\0\0\0",
            "length beyond the limit": b"\x7f\xff\xff\xff\1\0\0\0\1",
            "unknown kind": frame("READY", 1),
            "not UTF-8": frame("CALL", 1, b'{"command":"\xff"}'),
            "not JSON": frame("CALL", 1, b'{"command":'),
            "not a number of JSON": frame("CALL", 1, b'{"command":"echo","args":{"value":[NaN]}}'),
            "two JSON texts": frame("CALL", 1, b"{}{}"),
            "no object": frame("CALL", 1, b"[]"),
            "neither command nor hook": frame("CALL", 1, b'{"args":{}}'),
            "no args": frame("CALL", 1, b'{"command":"echo"}'),
            "args no object": frame("CALL", 1, b'{"command":"echo","args":[]}'),
        }
        for name, data in cases.items():
            with self.subTest(name), Worker(APP) as worker:
                worker.ready()
                worker.send(data)
                self.assertEqual(worker.rest(), [])
                self.assertEqual(worker.wait(), 70)
                self.assertRegex(worker.stderr(), "^charmer worker: .*\n$")

    def test_end_of_input_inside_a_frame_ends_the_worker(self) -> None:
        with Worker(APP) as worker:
            worker.ready()
            worker.send(frame("CALL", 1, b"{}")[:-1])
            worker.hang_up()
            self.assertEqual(worker.wait(), 70)


class TheCall(WithWorker):
    def test_current_tells_about_it(self) -> None:
        session = {"id": "u1", "state": "resumed"}
        members = {"session": session, "traceparent": "00-ab-cd-01", "timeout_ms": 5000.5}
        self.worker.send(frame("CALL", 1, envelope("about", {}, **members)))
        body = self.worker.reply()[1].body
        for name in ("remaining", "ahead"):
            self.assertTrue(0 < body.pop(name) < 5.01)
        wanted = {"request_id": "r-1", "session": ["u1", "resumed"], "command": "about", "traceparent": "00-ab-cd-01"}
        self.assertEqual(body, wanted)

    def test_without_session_and_time_left_it_says_so(self) -> None:
        self.worker.send(frame("CALL", 1, envelope("about", {}, timeout_ms=0)))
        body = self.worker.reply()[1].body
        self.assertEqual((body["session"], body["remaining"], body["traceparent"]), ([None, None], 0, None))

    def test_threads_see_it(self) -> None:
        self.assertEqual(self.worker.call("about_in_threads").body, ["r-1", "r-1"])


if __name__ == "__main__":
    unittest.main()
