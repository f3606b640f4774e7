"""charmer.testing: calls without a service."""

from __future__ import annotations

import asyncio
import unittest
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, AsyncIterator, Dict, Iterator, List, Optional

import charmer
from charmer.testing import CommandFailed, InvalidArgs, UnknownCommand, call, session, worker
from tests.test_registry import WithRegistry


@dataclass
class Event:
    at: datetime


class Testing(WithRegistry):
    def setUp(self) -> None:
        super().setUp()
        self.seen: List[object] = []

        @charmer.command
        def next_day(event: Event, days: int = 1) -> Event:
            if days < 0:
                raise charmer.CommandError("backwards", "no way back", status=409)
            return Event(event.at.replace(day=event.at.day + days))

        @charmer.command
        async def double(n: int) -> int:
            await asyncio.sleep(0)
            return 2 * n + 0 * len(charmer.current().request_id)

        @charmer.command
        def up_to(n: int) -> Iterator[int]:
            charmer.progress(0.5)
            yield from range(n)

        @charmer.command
        async def up_to_async(n: int) -> AsyncIterator[int]:
            for number in range(n):
                yield number

        @charmer.command(batch=True)
        def together(calls: List[Dict[str, Any]]) -> List[object]:
            return [KeyError("a") if one.get("fail") else len(calls) for one in calls]

        @charmer.command
        def where() -> List[Optional[str]]:
            now = charmer.current()
            return [now.command, now.session_id, now.session_state]

        @charmer.command
        def bad() -> object:
            return [1j]

        @charmer.command
        def outer() -> Any:
            return [call("where"), charmer.current().command]

        self.next_day = next_day

    def test_arguments_and_results_are_those_of_a_client(self) -> None:
        self.assertEqual(call("next_day", event={"at": "2026-01-30T12:00:00Z"}), {"at": "2026-01-31T12:00:00Z"})
        event = Event(datetime(2026, 1, 30, tzinfo=timezone.utc))
        self.assertEqual(call(self.next_day, {"event": event}, days=0), {"at": "2026-01-30T00:00:00Z"})

    def test_every_kind_of_function_is_run(self) -> None:
        self.assertEqual(call("double", n=2), 4)
        self.assertEqual(call("up_to", n=3), [0, 1, 2])
        self.assertEqual(call("up_to_async", n=3), [0, 1, 2])
        self.assertEqual(call("together", any="thing"), 1)
        self.assertEqual(call("outer"), [["where", None, None], "outer"])

    def test_async_commands_run_within_a_loop_too(self) -> None:
        async def body() -> object:
            return call("double", n=3)

        self.assertEqual(asyncio.run(body()), 6)

    def test_refusals_are_raised(self) -> None:
        with self.assertRaises(InvalidArgs) as refused:
            call("next_day", event={"at": "noon"}, days="1")
        self.assertEqual([error["pointer"] for error in refused.exception.errors], ["/event/at", "/days"])
        self.assertIn("/days must be an integer, not a string", str(refused.exception))
        with self.assertRaises(InvalidArgs) as refused:
            call("double", m=1)
        self.assertEqual([error["pointer"] for error in refused.exception.errors], ["/m", "/n"])
        with self.assertRaisesRegex(UnknownCommand, "there is no command 'none'"):
            call("none")
        with self.assertRaises(UnknownCommand):
            call(len)

    def test_failures_are_raised_with_what_the_command_raised(self) -> None:
        with self.assertRaises(CommandFailed) as failed:
            call("next_day", event={"at": "2026-01-30T12:00:00Z"}, days=-1)
        self.assertEqual((failed.exception.code, failed.exception.status), ("backwards", 409))
        self.assertIsInstance(failed.exception.__cause__, charmer.CommandError)
        with self.assertRaises(CommandFailed) as failed:
            call("together", fail=True)
        self.assertEqual((failed.exception.code, failed.exception.status, failed.exception.type), ("command_failed", 422, "KeyError"))
        with self.assertRaisesRegex(CommandFailed, r"result\[0\] is a complex"):
            call("bad")

    def test_a_session_runs_its_hooks_and_is_seen_by_the_calls(self) -> None:
        charmer.on_session_start(lambda session_id: self.seen.append(("start", session_id)))
        charmer.on_session_end(lambda: self.seen.append(("end", charmer.current().session_id)))
        with session("u1"):
            self.assertEqual(call("where"), ["where", "u1", "new"])
            self.assertEqual(call("where"), ["where", "u1", "resumed"])
        self.assertEqual(self.seen, [("start", "u1"), ("end", "u1")])
        self.assertEqual(call("where"), ["where", None, None])

    def test_a_session_that_cannot_start_fails(self) -> None:
        charmer.on_session_start(lambda: 1 / 0 and None)
        with self.assertRaisesRegex(CommandFailed, "ZeroDivisionError"), session("u1"):
            self.fail("it has started")

    def test_a_worker_runs_its_hooks(self) -> None:
        charmer.on_start(lambda: self.seen.append("start"))
        charmer.on_stop(lambda: self.seen.append("stop"))
        with worker():
            self.assertEqual(self.seen, ["start"])
        self.assertEqual(self.seen, ["start", "stop"])


if __name__ == "__main__":
    unittest.main()
