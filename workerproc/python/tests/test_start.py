"""From spawn to READY, and the ways not to get there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, List

from tests.harness import APPS, RUNTIME, Got, Worker, frame, lines


class Starting(unittest.TestCase):
    def test_hello_progress_and_ready_come_in_order(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            before, ready = worker.until("READY")
            kinds = [got.kind for got in before]
            self.assertEqual(kinds, ["HELLO", "PROGRESS", "PROGRESS", "LOG"])
            hello = before[0].body
            self.assertEqual((hello["protocol"], hello["pid"]), (1, worker.pid))
            self.assertEqual(hello["runtime"], "charmer-python 0.1.0")
            self.assertEqual(hello["language"], f"CPython {sys.version.split()[0]}")
            self.assertEqual(hello["stack_signal"], signal.SIGRTMIN + 5)
            self.assertEqual([got.body["stage"] for got in before[1:3]], ["import hooks", "on_start warm_up"])
            self.assertEqual(lines(before, "stdout"), ["warming up"])
            self.assertEqual({got.id for got in before}, {0})
            self.assertEqual(ready.body["hooks"], ["session_start", "session_end"])
            self.assertEqual(
                ready.body["commands"][0],
                {
                    "name": "events",
                    "summary": "Give back what has happened.",
                    "doc": "Give back what has happened.",
                    "parameters": [],
                    "timeout_ms": 1500,
                    "idempotent": True,
                    "args_schema": {"type": "object", "properties": {}, "additionalProperties": False},
                    "result_schema": {"type": "array", "items": {"type": "string"}},
                },
            )

    def test_the_demo_is_served_when_no_app_is_named(self) -> None:
        with Worker("") as worker:
            commands = [command["name"] for command in worker.ready().body["commands"]]
            self.assertEqual(commands, ["greet", "add", "echo", "sleep", "count", "count_to", "fail", "crash"])
            self.assertEqual(worker.call("greet", name="Ada", excited=True).body, "hello Ada!")
            self.assertEqual(worker.call("add", a=1, b=2).body, 3)
            self.assertEqual(worker.call("echo", value=[{"ß": None}]).body, [{"ß": None}])
            self.assertGreater(worker.call("sleep", seconds=0.001).body, 0)
            self.assertEqual([worker.call("count", step=2).body, worker.call("count").body], [2, 3])
            self.assertEqual(worker.call("fail").body["type"], "ValueError")
            self.assertEqual(worker.call("fail", code="no_luck").body["code"], "no_luck")
            worker.send(frame("CALL", 9, b'{"command":"crash","request_id":"r","timeout_ms":1,"args":{}}'))
            self.assertEqual(worker.rest()[-1].body["message"], "crash: leaving with exit code 3")
            self.assertEqual(worker.wait(), 3)


class Importing(unittest.TestCase):
    def test_a_file_is_a_module_of_its_own_name(self) -> None:
        with Worker("apps/calls.py", cwd=str(APPS.parent)) as worker:
            worker.ready()
            where = worker.call("where").body
            self.assertEqual(where["name"], "calls")
            self.assertEqual(where["argv"], [str(APPS / "calls.py")])
            self.assertEqual(where["first"], str(APPS))
            self.assertTrue(where["registered"])

    def test_a_module_is_found_from_the_current_directory(self) -> None:
        with Worker("apps.calls", cwd=str(APPS.parent)) as worker:
            worker.ready()
            where = worker.call("where").body
            self.assertEqual((where["name"], where["argv"]), ("apps.calls", ["apps.calls"]))
            self.assertEqual(where["first"], str(APPS.parent))

    def test_a_file_with_the_name_of_a_loaded_module_is_served(self) -> None:
        for name in ("json.py", "charmer.py"):
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                path = Path(directory, name)
                path.write_text("from charmer import command\n@command\ndef f(): return __name__\n")
                with Worker(str(path)) as worker:
                    worker.ready()
                    self.assertEqual(worker.call("f").body, f"charmer_app_{path.stem}")


class Failing(unittest.TestCase):
    def started(self, source: str, **options: Any) -> Got:
        """Start an app that cannot; return its last frame and check the rest of its end."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "broken.py")
            path.write_text(source)
            with Worker(str(path), **options) as worker:
                frames = worker.rest()
                self.assertEqual(worker.wait(), 1)
        self.assertEqual(frames[0].kind, "HELLO")
        self.assertEqual((frames[-1].kind, frames[-1].id, frames[-1].body["kind"]), ("ERROR", 0, "start"))
        return frames[-1]

    def test_whatever_the_import_raises_is_told(self) -> None:
        cases = {
            "import nmupy": ("ModuleNotFoundError", "No module named 'nmupy'"),
            "1/0": ("ZeroDivisionError", "division by zero"),
            "def f(:": ("SyntaxError", ""),
            "import sys; sys.exit('no config')": ("SystemExit", "no config"),
            "raise KeyboardInterrupt": ("KeyboardInterrupt", ""),
            "class Odd(BaseException): pass\nraise Odd('odd')": ("broken.Odd", "odd"),
            "import os, sys; os.close(1); os.close(2); sys.stdout = None; 1/0": ("ZeroDivisionError", "division"),
        }
        for source, (kind, message) in cases.items():
            with self.subTest(source):
                body = self.started(source).body
                self.assertEqual((body["stage"], body["type"]), ("import app", kind))
                self.assertIn(message, body["message"])
                self.assertNotIn(str(RUNTIME / "charmer"), body["traceback"])
                self.assertNotIn("importlib", body["traceback"])
                self.assertIn("broken.py", body["traceback"])

    def test_an_app_without_commands_is_told_what_to_do(self) -> None:
        body = self.started("x = 1").body
        self.assertEqual(body["stage"], "import app")
        self.assertRegex(body["message"], "broken.py registers no command: write `from charmer import command`")

    def test_a_start_hook_that_raises_is_named(self) -> None:
        source = "import charmer\n@charmer.command\ndef f(): ...\n"
        source += "@charmer.on_start\ndef warm(): raise ValueError('cold')\n"
        body = self.started(source).body
        self.assertEqual((body["stage"], body["type"], body["message"]), ("on_start warm", "ValueError", "cold"))
        self.assertIn("in warm", body["traceback"])

    def test_a_file_or_module_that_is_not_there_is_told(self) -> None:
        for app, kind in (("/nowhere/app.py", "FileNotFoundError"), ("no.such.module", "ModuleNotFoundError")):
            with self.subTest(app), Worker(app) as worker:
                self.assertEqual(worker.rest()[-1].body["type"], kind)
                self.assertEqual(worker.wait(), 1)

    def test_a_description_beyond_the_frame_is_told(self) -> None:
        source = "from charmer import command\n" + "".join(
            f"@command(name='command_{n}')\ndef f(): ...\n" for n in range(100)
        )
        self.assertRegex(self.started(source, max_frame=1024).body["message"], "READY takes [0-9,]+ bytes")

    def test_a_start_error_fits_the_smallest_frame(self) -> None:
        body = self.started("raise ValueError('\\0' * 100_000)", max_frame=1024).body
        self.assertIn("bytes cut", body["message"])

    def test_a_child_that_the_import_forks_does_not_go_on(self) -> None:
        source = "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0); raise ValueError('parent')\n"
        self.assertEqual(self.started(source).body["message"], "parent")

    def test_by_hand_it_says_what_it_is(self) -> None:
        done = subprocess.run([sys.executable, str(RUNTIME)], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 64)
        self.assertIn("run `charmer serve app.py`", done.stderr)

    def test_without_lifeline_and_stack_it_serves(self) -> None:
        to_worker, from_worker = os.pipe(), os.pipe()
        script = f"exec 3<&{to_worker[0]} 4>&{from_worker[1]} 5>&- 6>&- 7>&-; exec {sys.executable} {RUNTIME}"
        process = subprocess.Popen(["bash", "-c", script], pass_fds=(to_worker[0], from_worker[1]))
        os.close(to_worker[0])
        os.close(from_worker[1])
        os.close(to_worker[1])
        with os.fdopen(from_worker[0], "rb") as stream:
            said = stream.read()
        self.assertEqual(process.wait(), 0)
        hello = json.loads(said[9 : 4 + int.from_bytes(said[:4], "big")])
        self.assertNotIn("stack_signal", hello)


class Stopping(unittest.TestCase):
    def ended(self, worker: Worker) -> List[str]:
        frames = worker.rest()
        self.assertEqual(worker.wait(), 0)
        return [got.body["message"] for got in frames if got.kind == "LOG"]

    def test_stop_and_end_of_input_run_the_stop_hooks_and_atexit(self) -> None:
        for how in ("STOP", "end of input"):
            with self.subTest(how), Worker(str(APPS / "hooks.py")) as worker:
                worker.ready()
                if how == "STOP":
                    worker.send(frame("STOP", 0))
                else:
                    worker.hang_up()
                said = self.ended(worker)
                self.assertEqual(said[0], "on_stop breaks raised")
                self.assertIn("SystemExit: stop hook gives up", said)
                self.assertEqual(said[-2:], ["bye", "atexit ran"])

    def test_calls_before_a_stop_are_answered(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            worker.ready()
            call = b'{"command":"events","request_id":"r","timeout_ms":1000,"args":{}}'
            worker.send(frame("CALL", 1, call), frame("CALL", 2, call), frame("PING", 7), frame("STOP", 0))
            answers = [(got.kind, got.id) for got in worker.rest() if got.kind != "LOG"]
            self.assertEqual(answers, [("RESULT", 1), ("RESULT", 2), ("PONG", 7)])
            self.assertEqual(worker.wait(), 0)

    def test_threads_of_the_app_are_waited_for(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            worker.ready()
            logs, _ = worker.call_with_logs("linger.on")
            worker.send(frame("STOP", 0))
            said = lines(logs, "stdout") + self.ended(worker)
            self.assertIn("the thread ends", said)

    def test_a_stop_that_comes_before_ready_is_obeyed_after_it(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            worker.send(frame("STOP", 0))
            self.assertEqual(worker.rest()[-1].kind, "LOG")
            self.assertEqual(worker.wait(), 0)


class SessionHooks(unittest.TestCase):
    def hook(self, worker: Worker, name: str) -> Got:
        fields = {"hook": name, "request_id": "r", "session": {"id": "u1", "state": "new"}, "timeout_ms": 1000}
        worker.send(frame("CALL", 5, json.dumps(fields).encode()))
        return worker.reply()[1]

    def test_they_run_in_order_with_the_session_at_hand(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            worker.ready()
            self.assertEqual(self.hook(worker, "session_start"), Got("RESULT", 5, None))
            wanted = ["start", "session_start u1 new session_start", "session_start"]
            self.assertEqual(worker.call("events").body, wanted)

    def test_one_that_raises_is_answered_like_a_command(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            worker.ready()
            body = self.hook(worker, "session_end").body
            self.assertEqual((body["kind"], body["message"]), ("exception", "cannot end"))
            self.assertNotIn(str(RUNTIME / "charmer"), body["traceback"])

    def test_one_that_is_not_there_is_refused(self) -> None:
        with Worker(str(APPS / "hooks.py")) as worker:
            worker.ready()
            for name in ("session_pause", "start"):
                self.assertEqual(self.hook(worker, name).body["kind"], "unknown_command")


@unittest.skipUnless(sys.platform == "linux", "a policy of Linux")
class Policy(unittest.TestCase):
    def test_a_worker_takes_no_processor_from_others_when_it_is_woken(self) -> None:
        with Worker("") as worker:
            worker.ready()
            self.assertEqual(os.sched_getscheduler(worker.pid), os.SCHED_BATCH)
        self.assertEqual(os.sched_getscheduler(0), os.SCHED_OTHER)

    def test_a_policy_that_somebody_chose_stays(self) -> None:
        program = (
            "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); from charmer import _guard; "
            "_guard.give_way(); print(os.sched_getscheduler(0) == os.SCHED_IDLE)"
        )
        done = subprocess.run([sys.executable, "-c", program], cwd=RUNTIME, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "True\n")


if __name__ == "__main__":
    unittest.main()
