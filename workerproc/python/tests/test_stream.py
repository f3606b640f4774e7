"""Generators: as streams within a credit, and as arrays; and what a call says to its caller."""

from __future__ import annotations

import unittest
from typing import List, cast
from unittest.mock import Mock

from charmer._calls import Calls
from charmer._cancel import Cancelled
from charmer._frames import FrameWriter
from charmer._stream import Outlet
from tests.harness import APPS, Got, Worker, lines
from tests.test_cancel import WithWorker

APP = str(APPS / "cancels.py")


def chunks(got: List[Got]) -> List[object]:
    return [one.body for one in got if one.kind == "CHUNK"]


class AnOutletWithoutCredit(unittest.TestCase):
    def test_leaves_out_what_a_call_that_is_to_end_still_yields(self) -> None:
        calls, sent = Calls(), []
        outlet = Outlet(calls, 1, 1, 1 << 20)
        calls.writer = cast("FrameWriter", Mock(send=lambda kind, body, call_id: sent.append(body)))
        outlet.send(b"11")
        self.assertTrue(outlet.must_wait())
        calls.asked.add(1)
        self.assertFalse(outlet.must_wait())
        outlet.send(b"22")
        outlet.grant(100)
        outlet.send(b"33")
        self.assertEqual(sent, [b"11", b"33"])
        self.assertRaises(Cancelled, outlet.reply)


class Streams(WithWorker):
    def test_items_come_in_order_and_null_is_the_end(self) -> None:
        self.worker.start("count", 1, stream=1 << 20, to=3)
        before, end = self.worker.until("RESULT")
        self.assertEqual((chunks(before), end), ([0, 1, 2], Got("RESULT", 1, None)))
        self.assertEqual({got.id for got in before}, {1})
        self.assertEqual([got.kind for got in before], ["LOG", "CHUNK"] * 3 + ["LOG"])

    def test_a_generator_waits_for_credit(self) -> None:
        self.worker.start("count", 1, stream=1, to=5)
        self.assertEqual(self.worker.until("CHUNK")[1].body, 0)
        self.worker.heard("item 1")
        for number in range(1, 5):
            self.assertTrue(self.worker.is_silent())
            self.worker.grant(1, 1)
            self.assertEqual(self.worker.until("CHUNK")[1].body, number)
            self.worker.heard(f"item {number + 1}" if number < 4 else "closing")
        self.assertEqual(self.worker.reply()[1], Got("RESULT", 1, None))
        self.healthy()

    def test_a_chunk_may_overdraw_its_credit(self) -> None:
        self.worker.start("count", 1, stream=10, to=3, size=1000)
        self.worker.until("CHUNK")
        self.worker.heard("item 1")
        self.assertTrue(self.worker.is_silent())
        self.worker.grant(1, 992)
        self.assertTrue(self.worker.is_silent())
        self.worker.grant(1, 1)
        self.worker.heard("item 2")
        self.assertTrue(self.worker.is_silent())
        self.worker.grant(1, 1002)
        self.assertEqual(self.worker.until("RESULT")[1].body, None)

    def test_much_credit_in_small_packets_is_all_counted(self) -> None:
        self.worker.start("count", 1, stream=2, to=2000)
        got = 0
        for number in range(2000):
            one = self.worker.until("CHUNK")[1]
            self.assertEqual(one.body, number)
            got += 1
            self.worker.grant(1, len(str(number)))
            self.worker.signal()
        self.assertEqual(self.worker.reply()[1], Got("RESULT", 1, None))

    def test_a_cancel_ends_one_that_waits_for_credit_and_one_that_does_not(self) -> None:
        self.worker.start("count", 1, stream=0, to=5)
        self.worker.heard("item 0")
        logs, got = self.worker.cancel_until_answered(1)
        self.assertEqual((got.body["kind"], lines(logs, "stdout")), ("cancelled", ["closing"]))
        self.assertEqual(self.worker.call("kept", 2).body, ["closed"])
        self.worker.start("hang_in_generator", 3, stream=100)
        self.worker.heard("begun")
        logs, got = self.worker.cancel_until_answered(3)
        self.assertEqual((got.body["kind"], lines(logs, "stdout")), ("cancelled", ["closing"]))
        self.healthy()

    def test_cancels_that_meet_a_stream_anywhere_do_no_harm(self) -> None:
        for number in range(1, 501):
            self.worker.start("count", number, stream=4, to=8)
            self.worker.grant(number, 2)
            self.worker.cancel(number)
            while (got := self.worker.next()) is not None and got.kind not in ("RESULT", "ERROR"):
                self.assertEqual(got.id, number)
                self.worker.grant(number, 1)
            assert got is not None
            self.assertEqual(got.id, number)
            if got.kind == "ERROR":
                self.assertEqual(got.body["kind"], "cancelled")
        self.healthy()

    def test_a_generator_that_raises_fails_after_its_items(self) -> None:
        self.worker.start("count", 1, stream=100, to=3, fail_at=2)
        before, error = self.worker.until("ERROR")
        self.assertEqual((chunks(before), error.body["message"]), ([0, 1], "no 2"))
        self.assertIn("cancels.py", error.body["traceback"])
        self.assertNotIn("_stream.py", error.body["traceback"])

    def test_an_item_that_json_cannot_carry_is_named(self) -> None:
        for number, stream in ((1, 100), (2, None)):
            self.worker.start("bad_item", number, stream=stream)
            before, error = self.worker.until("ERROR")
            wanted = {"kind": "bad_result", "type": "TypeError"}
            wanted["message"] = "result[1].rows[1] is a complex, which JSON cannot carry"
            self.assertEqual((error.body, lines(before, "stdout")), (wanted, ["closing"]))

    def test_without_credit_to_come_it_needs_none(self) -> None:
        with Worker(APP, control=False) as worker:
            worker.ready()
            worker.start("count", 1, stream=0, to=3)
            self.assertEqual(chunks(worker.until("RESULT")[0]), [0, 1, 2])


class Arrays(WithWorker):
    def test_all_items_are_the_result(self) -> None:
        self.assertEqual(self.worker.call("count", 1, to=3).body, [0, 1, 2])
        self.assertEqual(self.worker.call("count", 2, to=0).body, [])

    def test_one_that_is_too_large_says_with_which_item(self) -> None:
        with Worker(APP, max_frame=4096) as worker:
            worker.ready()
            self.assertEqual(len(worker.call("count", 1, to=4, size=1000).body), 4)
            body = worker.call("count", 2, to=100, size=1000).body
            wanted = "result takes more bytes with item 5 than the largest frame, 4,096"
            self.assertEqual((body["kind"], body["message"]), ("bad_result", wanted))
            body = worker.call("count", 3, to=1, size=5000).body
            self.assertIn("result[0] takes 5,007 bytes as a frame", body["message"])

    def test_ready_says_which_commands_stream(self) -> None:
        with Worker(APP) as worker:
            commands = worker.ready().body["commands"]
        self.assertEqual({one["name"] for one in commands if one.get("stream")}, {"count", "bad_item", "hang_in_generator", "say"})
        self.assertFalse([one for one in commands if "concurrency" in one])

    def test_an_app_without_async_commands_imports_no_asyncio(self) -> None:
        self.assertNotIn("asyncio", self.worker.call("modules", 1).body)


class Saying(WithWorker):
    def test_progress_and_events_carry_the_id_of_the_call(self) -> None:
        self.worker.start("say", 7, message="one\ntwo", level="warning")
        before, end = self.worker.until("RESULT")
        self.assertEqual((end.body, {got.id for got in before}), ([1], {7}))
        told = [got.body for got in before if got.kind == "PROGRESS"]
        self.assertEqual(told, [{"fraction": 0.25}, {"message": "nearly"}, {"fraction": 1, "message": "done"}])
        event = {"level": "warning", "stream": "log", "logger": "charmer", "event": True}
        events = [got.body for got in before if got.kind == "LOG"]
        self.assertEqual(events, [{**event, "message": "one"}, {**event, "message": "two"}])

    def test_nonsense_is_refused(self) -> None:
        value, kind = "ValueError", "TypeError"
        wanted = {"nothing": kind, "more": value, "nan": value, "text": kind, "message": kind, "level": value, "no text": kind}
        self.assertEqual(self.worker.call("misuse", 1).body, wanted)

    def test_nothing_of_a_call_follows_its_answer(self) -> None:
        self.worker.call("talk_later", 1)
        logs, _ = self.worker.call_with_logs("open_gate", 2)
        self.assertEqual(lines(logs, "stdout"), ["printed"])
        self.assertFalse([got for got in logs if got.id == 1])

    def test_a_long_line_is_cut(self) -> None:
        self.worker.start("say", 1, message="x" * 20_000)
        logs = [got for got in self.worker.until("RESULT")[0] if got.kind == "LOG"]
        self.assertLessEqual(len(logs[0].body["message"]), 8192)


if __name__ == "__main__":
    unittest.main()
