"""Async commands, side by side on the loop of a real worker."""

from __future__ import annotations

import os
import unittest
from typing import Dict, List

from tests.harness import APPS, Got, Worker, envelope, frame, lines

APP = str(APPS / "side.py")


class WithWorker(unittest.TestCase):
    """Gives each test a worker that serves side.py, and checks that it ends in good order."""

    app = APP

    def setUp(self) -> None:
        self.worker = Worker(self.app)
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.worker.ready()

    def healthy(self, call_id: int = 10_000) -> None:
        self.assertEqual(self.worker.call("echo", call_id, value=["healthy"]), Got("RESULT", call_id, ["healthy"]))

    def stop(self) -> List[Got]:
        self.worker.send(frame("STOP", 0))
        rest = self.worker.rest()
        self.assertEqual(self.worker.wait(), 0)
        self.assertEqual(self.worker.stderr(), "")
        return rest


class SideBySide(WithWorker):
    def test_calls_are_answered_as_they_end(self) -> None:
        for number in range(1, 51):
            body = envelope("wait", {"name": f"n{number}"}, request_id=f"r-{number}")
            self.worker.send(frame("CALL", number, body))
        for number in range(1, 51):
            self.worker.heard(f"n{number} waits")
        for number in reversed(range(1, 51)):
            self.worker.start("release", 100 + number, name=f"n{number}")
            replies = self.worker.replies(2)
            self.assertEqual(replies[number].body, f"n{number} r-{number}")
        self.healthy()
        self.stop()

    def test_output_carries_the_id_of_its_call(self) -> None:
        for number, name in ((1, "one"), (2, "two")):
            self.worker.start("wait", number, name=name)
            self.worker.heard(f"{name} waits")
        self.worker.send(*(frame("CALL", 10 + n, envelope("release", {"name": name})) for n, name in ((1, "one"), (2, "two"))))
        ids: Dict[str, int] = {}
        answered = 0
        while answered < 4:
            got = self.worker.next()
            assert got is not None
            if got.kind == "LOG":
                ids[got.body["message"]] = got.id
            else:
                answered += 1
        self.assertEqual(ids, {"one goes on": 1, "two goes on": 2})

    def test_threads_of_a_call_are_its_own(self) -> None:
        self.worker.start("wait", 1)
        self.worker.heard("a waits")
        self.worker.start("in_threads", 2)
        logs, got = self.worker.reply()
        self.assertEqual([(log.id, log.body["message"]) for log in logs], [(2, "thread of none")])
        self.assertEqual(got.body, ["r-1"])

    def test_lines_that_have_begun_are_kept_apart(self) -> None:
        for number, name in ((1, "one"), (2, "two")):
            self.worker.start("half_a_line", number, name=name)
        self.worker.start("release", 3, name="line")
        got = [self.worker.next() for _ in range(5)]
        said = {(one.id, one.body["message"]) for one in got if one is not None and one.kind == "LOG"}
        self.assertEqual(said, {(1, "one begins, one ends"), (2, "two begins, two ends")})

    def test_a_ping_is_answered_at_once(self) -> None:
        self.worker.start("wait", 1)
        self.worker.heard("a waits")
        self.worker.send(frame("PING", 9))
        self.assertEqual(self.worker.next(), Got("PONG", 9, None))
        self.worker.start("release", 2)
        self.worker.replies(2)

    def test_a_call_that_runs_alone_waits_for_the_others(self) -> None:
        self.worker.start("wait", 1)
        self.worker.heard("a waits")
        self.worker.start("plain", 2, value=2)
        self.worker.start("alone", 3)
        self.worker.start("echo", 4, value=4)
        self.worker.send(frame("PING", 9))
        self.assertEqual(self.worker.next(), Got("PONG", 9, None))
        self.assertTrue(self.worker.is_silent())
        self.worker.send(frame("STOP", 0))  # they are finished first
        self.worker.hang_up()
        self.assertTrue(self.worker.is_silent())
        self.worker.cancel(1)
        order = [(got.kind, got.id) for got in self.worker.rest() if got.kind != "LOG"]
        self.assertEqual(order, [("ERROR", 1), ("RESULT", 2), ("RESULT", 3), ("RESULT", 4)])
        self.assertEqual(self.worker.wait(), 0)

    def test_frames_in_pieces_do_not_hold_up_the_loop(self) -> None:
        call = frame("CALL", 2, envelope("release", {"name": "a"}, filler="x" * 300_000))
        self.worker.start("wait", 1)
        self.worker.heard("a waits")
        for piece in (call[:3], call[3:7], call[7:100], call[100:200_000]):
            self.worker.send(piece)
        self.worker.cancel(1)
        self.assertEqual(self.worker.reply()[1].body["kind"], "cancelled")
        self.worker.send(call[200_000:])
        self.assertEqual(self.worker.reply()[1], Got("RESULT", 2, None))

    def test_input_that_ends_inside_a_frame_ends_the_worker(self) -> None:
        self.worker.send(frame("CALL", 1, b"{}")[:-1])
        self.worker.hang_up()
        self.assertEqual(self.worker.wait(), 70)
        self.assertRegex(self.worker.stderr(), "^charmer worker: input ended 10 bytes into a frame\n$")

    def test_input_out_of_step_ends_the_worker(self) -> None:
        for data in (b"\xff\xff\xff\xff", b"\0\0\0\4\1\0\0\0\0", frame("READY", 1), frame("CALL", 1, b"[]"), frame("CALL", 1, b"\xff")):
            with Worker(APP) as worker:
                worker.ready()
                worker.send(data)
                self.assertEqual(worker.rest(), [])
                self.assertEqual(worker.wait(), 70)

    def test_plain_commands_run_as_ever(self) -> None:
        self.assertEqual(self.worker.call("plain", 1, value=1).body, 1)
        self.assertEqual(self.worker.call("runs_a_loop", 2).body, 3)
        self.worker.start("plain_items", 3, stream=1, to=2)
        self.worker.heard("item 1")
        self.worker.grant(3, 10)
        self.assertEqual(self.worker.until("RESULT")[1].id, 3)
        self.worker.start("plain_hangs", 4)
        self.worker.heard("begun")
        self.assertEqual(self.worker.cancel_until_answered(4)[1].body["type"], "charmer.Cancelled")
        self.healthy()

    def test_ready_tells_how_many_run_at_once(self) -> None:
        with Worker(APP, concurrency=7) as worker:
            commands = {one["name"]: one for one in worker.ready().body["commands"]}
        wanted = {"wait": 7, "items": 7, "thread_waits": 4, "alone": None, "plain": None}
        self.assertEqual({name: commands[name].get("concurrency") for name in wanted}, wanted)
        self.assertTrue(commands["items"]["stream"])


class Cancels(WithWorker):
    def test_a_task_is_cancelled(self) -> None:
        for number, (how, kind) in enumerate((("", "cancelled"), ("raise", "exception"), ("swallow", None)), 1):
            self.worker.start("cleans_up", number, how=how)
            self.worker.heard("begun")
            self.worker.cancel(number)
            logs, got = self.worker.reply()
            self.assertEqual((got.id, lines(logs, "stdout")), (number, ["cleaning up"]))
            if kind is None:
                self.assertEqual(got, Got("RESULT", number, "swallowed"))
            else:
                self.assertEqual(got.body["kind"], kind)
                self.assertIn("side.py", got.body["traceback"])
                self.assertNotIn("started", got.body)
        self.healthy()

    def test_one_that_blocks_the_loop_is_interrupted(self) -> None:
        self.worker.start("wait", 50)
        self.worker.heard("a waits")
        for number, how in enumerate(("sleep", "loop", "print", "child"), 1):
            with self.subTest(how):
                self.worker.start("blocks", number, how=how)
                self.worker.heard("begun")
                _, got = self.worker.cancel_until_answered(number)
                self.assertEqual((got.id, got.body["kind"]), (number, "cancelled"))
        self.worker.start("release", 51)
        self.assertEqual(self.worker.replies(2)[50].body, "a r-1")

    def test_one_that_cancels_itself_is_an_exception(self) -> None:
        body = self.worker.call("cancels_itself", 1).body
        self.assertEqual((body["kind"], body["message"]), ("exception", "own"))

    def test_a_shield_keeps_it_out(self) -> None:
        self.worker.start("shielded", 1)
        self.worker.heard("begun")
        self.assertEqual(self.worker.cancel_until_answered(1)[1].body["kind"], "cancelled")
        self.assertEqual(self.worker.call("kept", 2).body, ["whole", "finally"])

    def test_one_that_has_not_begun_never_does(self) -> None:
        self.worker.cancel(2)
        self.worker.start("wait", 1)
        self.worker.start("plain", 2)
        self.worker.start("release", 3)  # behind the plain one, which waits for the first
        self.worker.heard("a waits")
        self.worker.cancel(1)
        replies = self.worker.replies(3)
        self.assertEqual((replies[1].body["kind"], replies[2].body["started"]), ("cancelled", False))
        self.assertEqual(replies[3].kind, "RESULT")

    def test_a_cancel_that_meets_the_end_of_its_call_does_no_harm(self) -> None:
        for command in ("echo", "thread_echo"):
            with Worker(APP) as worker:
                worker.ready()
                for number in range(1, 2001):
                    worker.start(command, number, value=number)
                    worker.cancel(number)
                    logs, got = worker.reply()
                    self.assertEqual((logs, got.id), ([], number))
                    wanted = got.body == number if got.kind == "RESULT" else got.body["kind"] == "cancelled"
                    self.assertTrue(wanted, got)
                worker.send(frame("STOP", 0))
                worker.rest()
                self.assertEqual(worker.wait(), 0)

    def test_cancels_among_many_calls_hit_none_but_their_own(self) -> None:
        for first in range(1, 2001, 20):
            numbers = range(first, first + 20)
            self.worker.send(*(frame("CALL", n, envelope(("echo", "thread_echo")[n % 2], {"value": n})) for n in numbers))
            for number in numbers[::3]:
                self.worker.cancel(number)
            for number, got in self.worker.replies(len(numbers)).items():
                if got.kind == "RESULT":
                    self.assertEqual(got.body, number)
                else:
                    self.assertEqual((got.body["kind"], number in numbers[::3]), ("cancelled", True))
        self.healthy()


class Streams(WithWorker):
    def test_items_wait_for_credit_and_end(self) -> None:
        self.worker.start("items", 1, stream=1, to=3)
        self.worker.heard("item 1")
        self.assertTrue(self.worker.is_silent())
        self.assertEqual(self.worker.call("echo", 2, value=2).body, 2)
        self.worker.grant(1, 100)
        before, end = self.worker.until("RESULT")
        self.assertEqual(([got.body for got in before if got.kind == "CHUNK"], end), ([1, 2], Got("RESULT", 1, None)))
        self.assertEqual(self.worker.call("items", 3, to=2).body, [0, 1])

    def test_a_cancel_closes_the_generator(self) -> None:
        for number, (stream, to, heard) in enumerate(((0, 3, "item 0"), (100, 1, "begun")), 1):
            self.worker.start("items", number, stream=stream, to=to, name=f"n{number}")
            self.worker.heard(heard)
            self.worker.cancel(number)
            before, end = self.worker.until("ERROR")
            self.assertEqual((end.body["kind"], lines(before, "stdout")[-1:]), ("cancelled", ["closing"]))
        self.healthy()


class Ends(WithWorker):
    def test_running_calls_finish_first(self) -> None:
        self.worker.call("leaves_a_task", 1)
        self.worker.start("wait", 2)
        self.worker.heard("a waits")
        self.worker.send(frame("CALL", 3, envelope("release", {})), frame("STOP", 0))
        rest = self.worker.rest()
        self.assertEqual([got.id for got in rest if got.kind == "RESULT"], [3, 2])
        self.assertEqual(lines(rest, "stdout"), ["on_stop", "task ended"])
        self.assertEqual({got.id for got in rest if got.kind == "LOG" and got.body["stream"] == "stdout"}, {0})
        self.assertEqual((self.worker.wait(), self.worker.stderr()), (0, ""))

    def test_an_exit_waits_for_the_other_calls(self) -> None:
        self.worker.start("exits", 1, code=3)
        self.worker.heard("exits")
        self.worker.start("wait", 2, name="exit")
        self.worker.heard("exit waits")
        self.worker.start("release", 3, name="exit")
        replies = self.worker.replies(3)
        self.assertIs(replies[1].body["exiting"], True)
        self.assertEqual((replies[2].kind, replies[3].kind), ("RESULT", "RESULT"))
        self.assertEqual(lines(self.worker.rest(), "stdout"), ["on_stop"])
        self.assertEqual(self.worker.wait(), 3)

    def test_an_interrupt_ends_the_worker(self) -> None:
        os.kill(self.worker.pid, 2)
        self.worker.rest()
        self.assertEqual(self.worker.wait(), 130)


class Hostile(WithWorker):
    def test_an_app_that_cancels_all_tasks_is_answered(self) -> None:
        calls = [frame("CALL", n, envelope("wait", {"name": "never"})) for n in (1, 2)]
        self.worker.send(*calls, frame("CALL", 3, envelope("cancels_all", {})), frame("CALL", 4, envelope("wait", {})))
        replies = self.worker.replies(4)
        self.assertEqual({got.body["kind"] for got in replies.values()}, {"exception"})
        self.healthy()

    def test_an_app_that_stops_the_loop_is_served_on(self) -> None:
        self.assertEqual(self.worker.call("stops_the_loop", 1).body, "not closed")
        self.healthy()
        self.stop()

    def test_a_forked_child_that_comes_back_is_not_answered_for(self) -> None:
        self.assertEqual(self.worker.call("forks", 1).body, 0)
        self.assertEqual(self.worker.call("thread_forks", 2).body, 0)
        self.healthy()
        self.stop()

    def test_what_a_signal_handler_raises_between_calls_is_logged(self) -> None:
        self.worker.call("raises_later", 1)
        self.worker.heard("TimeoutError: rang")
        self.healthy()


class Threads(WithWorker):
    def test_plain_calls_run_side_by_side(self) -> None:
        for number in range(1, 5):
            self.worker.send(frame("CALL", number, envelope("thread_waits", {"name": f"n{number}"}, request_id=f"r-{number}")))
            self.worker.heard(f"n{number} waits")
        for number in (3, 1, 4, 2):
            self.worker.start("let_go", 10 + number, name=f"n{number}")
            self.assertEqual(self.worker.replies(2)[number].body, [f"n{number}", f"r-{number}", False])
        self.stop()

    def test_no_more_than_they_allow(self) -> None:
        for number in range(1, 5):
            self.worker.start("thread_waits", number, name=f"n{number}")
            self.worker.heard(f"n{number} waits")
        self.worker.start("thread_waits", 5, name="n5")
        self.assertTrue(self.worker.is_silent())
        self.worker.cancel(5)
        self.assertTrue(self.worker.is_silent())
        self.worker.hang_up()

    def test_a_cancel_is_raised_in_the_thread(self) -> None:
        for number, how in enumerate(("loop", "print", "swallow"), 1):
            with self.subTest(how):
                self.worker.start("thread_loops", number, how=how)
                self.worker.heard("begun")
                _, got = self.worker.cancel_until_answered(number)
                if how == "swallow":
                    self.assertEqual(got, Got("RESULT", number, "swallowed"))
                else:
                    self.assertEqual((got.body["kind"], got.body["type"]), ("cancelled", "charmer.Cancelled"))
                    self.assertIn("in thread_loops", got.body["traceback"])
        self.healthy()
        self.stop()

    def test_a_shield_keeps_it_out(self) -> None:
        self.worker.start("thread_shielded", 1)
        self.worker.heard("begun")
        self.assertEqual(self.worker.cancel_until_answered(1)[1].body["kind"], "cancelled")
        self.assertEqual(self.worker.call("kept", 2).body, ["whole", "finally"])

    def test_no_shield_is_broken_wherever_the_cancel_comes(self) -> None:
        for number in range(1, 301):
            self.worker.start("thread_shields", number, rounds=1_000_000)
            self.worker.heard("begun")
            self.worker.cancel(number)
            got = self.worker.reply()[1]
            if got.kind == "RESULT":
                entered, left = got.body
                self.assertEqual(entered, left)
            else:
                self.assertEqual(got.body["kind"], "cancelled")
        self.healthy()

    def test_streams_wait_for_credit(self) -> None:
        self.worker.start("thread_items", 1, stream=1, to=3)
        self.worker.heard("item 1")
        self.worker.start("thread_items", 2, stream=0, to=3)
        self.worker.heard("item 0")
        self.assertTrue(self.worker.is_silent())
        self.worker.cancel(2)
        before, error = self.worker.until("ERROR")
        self.assertEqual((error.id, error.body["kind"], lines(before, "stdout")), (2, "cancelled", ["closing"]))
        self.worker.grant(1, 100)
        self.assertEqual(self.worker.until("RESULT")[1], Got("RESULT", 1, None))
        self.assertEqual(self.worker.call("thread_items", 3, to=2).body, [0, 1])


if __name__ == "__main__":
    unittest.main()
