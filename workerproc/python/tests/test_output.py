"""What the app prints and logs becomes LOG frames, and nothing it does to its streams harms a reply."""

from __future__ import annotations

import re
import unittest
from typing import List, Tuple

from tests.harness import APPS, Got, Worker, envelope, frame, lines


class WithWorker(unittest.TestCase):
    def setUp(self) -> None:
        self.worker = Worker(str(APPS / "prints.py"))
        self.addCleanup(self.worker.__exit__, None, None, None)
        self.first = self.worker.until("READY")[0]

    def calls(self, command: str, **args: object) -> Tuple[List[Got], object]:
        """Call with id 5; return the LOG frames, all of which must have that id, and the result."""
        logs, got = self.worker.call_with_logs(command, 5, **args)
        self.assertEqual((got.kind, got.id), ("RESULT", 5), got.body)
        self.assertEqual({log.id for log in logs} - {5}, set())
        return logs, got.body


class Printing(WithWorker):
    def test_lines_carry_level_stream_and_call(self) -> None:
        self.assertEqual(self.first[-1], Got("LOG", 0, {"level": "info", "stream": "stdout", "message": "imported"}))
        logs, _ = self.calls("say", text="one\ntwo ß")
        self.assertEqual([log.body["message"] for log in logs], ["one", "two ß"])
        logs, _ = self.calls("say", text="oh", stream="stderr")
        self.assertEqual(logs[0].body, {"level": "warning", "stream": "stderr", "message": "oh"})

    def test_a_line_that_has_begun_goes_out_before_the_reply(self) -> None:
        for stream in ("stdout", "stderr"):
            logs, _ = self.calls("say", text="half", end="", stream=stream)
            self.assertEqual(lines(logs, stream), ["half"])

    def test_bytes_that_are_not_utf_8_and_lone_surrogates_are_escaped(self) -> None:
        self.assertEqual(lines(self.calls("binary")[0], "stdout"), ["café \\xff"])
        self.assertEqual(lines(self.calls("say", text="a\udc80")[0], "stdout"), ["a\\udc80"])

    def test_long_lines_are_cut(self) -> None:
        self.assertEqual(lines(self.calls("say", text="x" * 8192)[0], "stdout"), ["x" * 8192])
        (line,) = lines(self.calls("flood", size=10_000_000)[0], "stdout")
        self.assertLessEqual(len(line.encode()), 8192)
        self.assertRegex(line, r"^é+… \(99918[0-9]{2} bytes cut\)$")

    def test_lines_fit_the_smallest_frame(self) -> None:
        with Worker(str(APPS / "prints.py"), max_frame=1 << 14) as worker:
            worker.ready()
            logs, got = worker.call_with_logs("say", text="\0" * 2000)
            self.assertEqual(got.kind, "RESULT")
            self.assertRegex(lines(logs, "stdout")[0], r"bytes cut\)$")

    def test_printing_in_threads_belongs_to_the_call_that_runs(self) -> None:
        self.assertEqual(lines(self.calls("in_thread")[0], "stdout"), ["from a thread"])

    def test_many_threads_lose_no_line(self) -> None:
        logs, _ = self.calls("many_threads", threads=8, count=500)
        said = "\n".join(lines(logs, "stdout"))
        for number in range(8):
            for i in range(500):
                self.assertIn(f"{number}:{i}", said)

    def test_a_signal_handler_may_print_while_printing(self) -> None:
        logs, count = self.calls("handler_prints", count=100)
        said = lines(logs, "stdout")
        assert isinstance(count, int)
        text = "\n".join(said)
        self.assertLessEqual(set(range(1, 101)), {int(n) for n in re.findall(r"ring (\d+)", text)})
        self.assertEqual(set(range(count)), {int(n) for n in re.findall(r"line (\d+) ", text)})
        self.assertEqual(text.count("x" * 3000), count)


    def test_a_signal_handler_may_raise_while_printing(self) -> None:
        for number in range(1, 51):
            self.worker.send(frame("CALL", number, envelope("times_out_printing", {"seconds": 0.002 + number / 1e5})))
            logs, got = self.worker.reply()
            self.assertEqual((got.kind, got.id, got.body["type"]), ("ERROR", number, "TimeoutError"))
            self.assertEqual({log.id for log in logs} - {number}, set())

    def test_a_signal_handler_may_print_while_a_reply_is_written(self) -> None:
        rings: List[str] = []
        for number in range(1, 21):
            self.worker.send(frame("CALL", number, envelope("prints_while_replying", {"size": 2_000_000})))
            logs, got = self.worker.reply()
            self.assertEqual((got.kind, got.id, len(got.body)), ("RESULT", number, 2_000_000))
            rings += lines(logs, "stdout")
        self.worker.call("quiet")
        self.assertGreater(len(rings), 0)


class Logging(WithWorker):
    def test_records_keep_level_and_logger(self) -> None:
        logs, _ = self.calls("log")
        got = [(log.body["level"], log.body["message"]) for log in logs]
        self.assertEqual({(log.body["stream"], log.body["logger"]) for log in logs}, {("log", "app.db")})
        first = [("info", "opened"), ("info", "twice"), ("warning", "slow query"), ("error", "failed")]
        self.assertEqual(got[:4], first)
        self.assertIn(("error", "Traceback (most recent call last):"), got)
        self.assertIn(("error", "ValueError: inner"), got)
        self.assertEqual(got[-1], ("critical", "lone \\ud800"))

    def test_warnings_are_logged(self) -> None:
        logs, _ = self.calls("warn")
        self.assertEqual((logs[0].body["level"], logs[0].body["logger"]), ("warning", "py.warnings"))
        self.assertRegex(logs[0].body["message"], "prints.py:[0-9]+: UserWarning: old")

    def test_logging_that_the_app_sets_up_lands_in_stderr(self) -> None:
        self.assertEqual(lines(self.calls("own_logging")[0], "stderr"), ["ERROR|own"])


class Games(WithWorker):
    def test_streams_can_be_lost_and_come_back(self) -> None:
        for what in ("none", "close", "wrap"):
            with self.subTest(what):
                self.assertEqual(self.calls("game", what=what)[1], what)
                self.assertEqual(lines(self.calls("say", text="back")[0], "stdout"), ["back"])
                self.assertEqual(lines(self.calls("say", text="too", stream="stderr")[0], "stderr"), ["too"])

    def test_the_streams_look_like_streams(self) -> None:
        self.assertEqual(self.calls("game", what="facts")[1], "1 False utf-8 backslashreplace <stdout> True")

    def test_the_standard_descriptors_can_be_closed(self) -> None:
        self.assertEqual(self.calls("game", what="close descriptors")[1], "[0, 1, 2]")
        self.assertEqual(lines(self.calls("say", text="still")[0], "stdout"), ["still"])
        self.assertEqual(self.calls("child")[1], 0)

    def test_programs_write_to_the_descriptors_and_not_into_frames(self) -> None:
        logs, code = self.calls("child")
        self.assertEqual((logs, code), ([], 0))
        self.assertEqual((self.worker.stdout(), self.worker.stderr()), ("from a child\n", "to stderr\n"))

    def test_programs_do_not_hold_the_descriptors_of_the_protocol(self) -> None:
        held = self.calls("child_fds")[1]
        assert isinstance(held, str)
        self.assertEqual(self.worker.pipes_in(held), set())
        self.assertEqual(held.count(self.worker.stderr_link()), 1)

    def test_nothing_but_what_was_meant_for_them_reached_the_descriptors(self) -> None:
        self.calls("say", text="a")
        self.calls("log")
        self.worker.send(frame("STOP", 0))
        self.worker.rest()
        self.assertEqual(self.worker.wait(), 0)
        self.assertEqual((self.worker.stdout(), self.worker.stderr()), ("", ""))


if __name__ == "__main__":
    unittest.main()
