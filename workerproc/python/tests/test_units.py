"""The small parts on their own: cutting text, taking turns, line buffers, finding the app."""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import sys
import threading
import traceback
import unittest
from types import FrameType
from typing import Callable, List, Optional, Set

from charmer._calls import Calls
from charmer._cancel import Cancelled, MainScope
from charmer._loader import App, find_app
from charmer._output import LineBuffer
from charmer._pool import CreditWait, ThreadScope
from charmer._stream import Outlet
from charmer._text import cut_end, cut_middle, text_limit
from charmer._turns import Gate, Turns


class Cutting(unittest.TestCase):
    def test_text_within_the_limit_is_kept(self) -> None:
        self.assertEqual(cut_end("grüß", 6), "grüß")
        self.assertEqual(cut_middle("grüß", 6), "grüß")

    def test_lone_surrogates_become_escapes(self) -> None:
        self.assertEqual(cut_end("a\ud800", 100), "a\\ud800")
        self.assertEqual(cut_middle("a\ud800", 100), "a\\ud800")

    def test_a_cut_says_how_much_is_gone_and_keeps_the_limit(self) -> None:
        for letter in ("x", "é", "€", "🐍"):
            for limit in (64, 65, 66, 67, 8192):
                text = letter * 20_000
                for cut in (cut_end(text, limit), cut_middle(text, limit)):
                    kept = cut.count(letter) * len(letter.encode())
                    self.assertLessEqual(len(cut.encode()), limit)
                    self.assertIn(f"({len(text.encode()) - kept} bytes cut)", cut)

    def test_what_was_dropped_before_is_counted(self) -> None:
        self.assertEqual(cut_end("abc", 100, more=5), "abc… (5 bytes cut)")

    def test_the_middle_goes_and_both_ends_stay(self) -> None:
        cut = cut_middle("a" * 1000 + "b" * 1000, 148)
        self.assertEqual(cut, "a" * 50 + "\n… (1900 bytes cut) …\n" + "b" * 50)

    def test_two_texts_fit_a_frame_however_they_are_escaped(self) -> None:
        for max_frame in (1024, 1 << 16, 64 << 20):
            self.assertLess(2 * 6 * text_limit(max_frame), max_frame)


class TakingTurns(unittest.TestCase):
    def test_an_item_that_is_put_from_within_waits_for_its_turn(self) -> None:
        seen: List[str] = []

        def handle(item: str) -> None:
            seen.append(f"{item} begins")
            if item == "outer":
                turns.put("inner")
            seen.append(f"{item} ends")

        turns: Turns[str] = Turns(handle, Gate())
        turns.put("outer")
        self.assertEqual(seen, ["outer begins", "outer ends", "inner begins", "inner ends"])

    def test_an_exception_leaves_it_usable(self) -> None:
        seen: List[int] = []
        turns: Turns[int] = Turns(lambda item: seen.append(1 // item), Gate())
        with self.assertRaises(ZeroDivisionError):
            turns.put(0)
        turns.put(1)
        self.assertEqual(seen, [1])

    def test_settling_helps_after_an_exception_in_the_worst_place(self) -> None:
        seen: List[int] = []
        turns: Turns[int] = Turns(seen.append, Gate())
        setattr(turns, "_busy", True)
        getattr(turns, "_lock").acquire()
        turns.put(1)
        self.assertEqual(seen, [])
        turns.settle(2)
        thread = threading.Thread(target=turns.put, args=(3,))
        thread.start()
        thread.join()
        self.assertEqual(seen, [1, 2, 3])

    def test_a_lock_of_the_app_that_is_wanted_in_between_is_not_waited_for_for_ever(self) -> None:
        seen: List[str] = []
        app_lock = threading.Lock()
        held = threading.Event()

        def handle(item: str) -> None:
            seen.append(item)
            if item == "first":
                thread.start()
                held.wait()
                with app_lock:  # as a finaliser of the app might, within any write
                    seen.append("got the lock")

        def put_with_lock() -> None:
            with app_lock:
                held.set()
                turns.put("second")

        turns: Turns[str] = Turns(handle, Gate())
        thread = threading.Thread(target=put_with_lock)
        turns.put("first")
        thread.join()
        self.assertEqual(seen, ["first", "got the lock", "second"])

    def test_no_item_is_lost_between_threads_and_signal_handlers(self) -> None:
        seen: List[int] = []
        rung: List[int] = []
        turns: Turns[int] = Turns(seen.append, Gate())

        def ring(*_: object) -> None:
            rung.append(-1)
            turns.put(-1)

        def put_all() -> None:
            for number in range(20_000):
                turns.put(number)

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        try:
            threads = [threading.Thread(target=put_all) for _ in range(2)]
            for thread in threads:
                thread.start()
            put_all()
            for thread in threads:
                thread.join()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        self.assertEqual(len(seen), 60_000 + len(rung))
        self.assertGreater(len(rung), 0)


class WaitingForCredit(unittest.TestCase):
    def test_a_cancel_is_raised_by_the_wait_also_if_the_thread_wakes_before_it_is_set(self) -> None:
        asked: Set[int] = set()
        began = threading.Event()
        scope = ThreadScope(7, asked)

        class Full(Outlet):
            def __init__(self) -> None:
                pass

            def must_wait(self) -> bool:
                began.set()
                return 7 not in asked

        outlet = Full()
        wait = CreditWait(scope, outlet)
        outcome: List[object] = []
        thread = threading.Thread(target=lambda: outcome.extend(scope.run(lambda: wait(outlet), {})))
        thread.start()
        self.assertTrue(began.wait(60))
        asked.add(7)
        outlet.wake()
        thread.join(60)
        self.assertIsInstance(outcome[1], Cancelled)
        self.assertTrue(scope.was_thrown())


class CancellingAThread(unittest.TestCase):
    def test_a_function_can_be_traced_after_it(self) -> None:
        asked: Set[int] = set()
        began = threading.Event()
        scope = ThreadScope(7, asked)

        def work() -> None:
            began.set()
            while True:
                pass

        outcome: List[object] = []
        thread = threading.Thread(target=lambda: outcome.extend(scope.run(work, {})))
        thread.start()
        self.assertTrue(began.wait(60))
        asked.add(7)
        scope.throw(None)
        thread.join(60)
        self.assertIsInstance(outcome[1], Cancelled)

        faulthandler.dump_traceback_later(60, exit=True)  # where no exception comes out any more
        before = sys.gettrace()
        sys.settrace(lambda *_: None)
        self.assertTrue(scope.was_thrown())
        sys.settrace(before)
        faulthandler.cancel_dump_traceback_later()


class CancellingByASignal(unittest.TestCase):
    def setUp(self) -> None:
        self.calls = Calls()
        self.calls.asked.add(7)

    def loop(self, handler: Callable[[int, Optional[FrameType]], None]) -> None:
        """Have handler interrupt a loop of a call, and expect it to end by a cancel that shows where it was."""
        scope = self.calls.main
        before = signal.signal(signal.SIGUSR1, handler)
        timer = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        timer.start()
        scope.call_id = scope.armed = 7
        raised: Optional[Cancelled] = None
        try:
            try:
                while True:
                    pass
            except TimeoutError:
                while True:
                    pass
        except Cancelled as exc:
            raised = exc
        timer.join()
        signal.signal(signal.SIGUSR1, before)
        assert raised is not None
        self.assertTrue(scope.was_thrown())
        self.assertEqual(traceback.extract_tb(raised.__traceback__)[0].name, "loop")
        self.assertIsNone(sys.gettrace())

    def test_it_is_raised_once_also_if_another_signal_interrupts_the_handler(self) -> None:
        interrupted: List[Optional[FrameType]] = []

        class Asked(Set[int]):
            def __contains__(_, call_id: object) -> bool:
                while interrupted:
                    self.calls.consider(interrupted.pop())
                return True

        def handler(_: int, frame: Optional[FrameType]) -> None:
            interrupted.append(frame)
            self.calls.consider(frame)

        self.calls.main = MainScope(Asked())
        self.loop(handler)

    def test_what_a_handler_of_the_app_raises_meanwhile_does_not_hide_where_it_was(self) -> None:
        def handler(_: int, frame: Optional[FrameType]) -> None:
            self.calls.consider(frame)
            raise TimeoutError

        self.loop(handler)


class Lines(unittest.TestCase):
    def setUp(self) -> None:
        self.lines: List[str] = []
        self.buffer = LineBuffer(1, 100, lambda line, _: self.lines.append(line), Gate(), lambda: 0)

    def test_lines_are_cut_wherever_the_writes_are(self) -> None:
        text = "one\ntwo\r\n\nthrée\nfour".encode()
        for cut in range(len(text)):
            self.lines.clear()
            self.buffer.write(text[:cut])
            self.buffer.write(text[cut:])
            self.assertEqual(self.lines, ["one", "two", "", "thrée"])
            self.assertTrue(self.buffer.pending)
            self.buffer.end_line()
            self.assertEqual(self.lines[4:], ["four"])
            self.assertFalse(self.buffer.pending)

    def test_a_line_of_exactly_the_limit_is_whole(self) -> None:
        self.buffer.write(b"x" * 100 + b"\r\n" + b"x" * 101 + b"\n")
        self.assertEqual(self.lines, ["x" * 100, "x" * 52 + "… (49 bytes cut)"])

    def test_a_line_without_end_takes_no_memory(self) -> None:
        for _ in range(1000):
            self.buffer.write(b"x" * 10_000)
        self.assertLess(len(getattr(self.buffer, "_lines")[0].kept), 200)
        self.buffer.write(b"\nnext\n")
        self.assertEqual(self.lines, ["x" * 52 + f"… ({10_000_000 - 52} bytes cut)", "next"])

    def test_what_is_not_utf_8_is_escaped(self) -> None:
        self.buffer.write(memoryview(b"caf\xc3\xa9 \xff\n"))
        self.assertEqual(self.lines, ["café \\xff"])

    def test_closing_does_no_harm(self) -> None:
        stream = io.TextIOWrapper(self.buffer, write_through=True)
        stream.close()
        stream.write("still\n")
        del stream
        self.buffer.write(b"there\n")
        self.assertEqual(self.lines, ["still", "there"])


class FindingTheApp(unittest.TestCase):
    def test_a_path_becomes_absolute_and_its_stem_the_module(self) -> None:
        here = os.getcwd()
        self.assertEqual(find_app("my/app_x.py"), App("app_x", os.path.join(here, "my/app_x.py")))
        self.assertEqual(find_app("app_x.py"), App("app_x", os.path.join(here, "app_x.py")))
        self.assertEqual(find_app("./app_x"), App("app_x", os.path.join(here, "app_x")))
        self.assertEqual(find_app("/srv/my-app.v2.py"), App("my_app_v2", "/srv/my-app.v2.py"))

    def test_a_stem_that_is_taken_gets_a_name_of_its_own(self) -> None:
        self.assertEqual(find_app("/srv/json.py").module, "charmer_app_json")
        self.assertEqual(find_app("/srv/charmer.py").module, "charmer_app_charmer")

    def test_a_dotted_name_is_a_module_and_none_is_the_demo(self) -> None:
        self.assertEqual(find_app("my.app"), App("my.app", ""))
        self.assertEqual(find_app(""), App("charmer.demo", ""))


if __name__ == "__main__":
    unittest.main()
