"""Measure what cheap workers are for: sessions, replacements, a thousand processes at once; see bench/README.md.

    python3 bench/start/life.py --charmer ./charmer --python /path/to/venv/bin/python [--imports numpy,fastapi]

Linux; standard library only. Times are taken by one client over one connection, and include HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

APP = Path(__file__).with_name("app.py")


class Service:
    """A client of one charmer, and its process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        self._connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text.decode()[:1000]}")
        return json.loads(text) if text else None

    def hang_up(self) -> None:
        self._connection.close()

    def call(self, n: int, session: str | None = None) -> None:
        body: dict[str, object] = {"command": "echo", "args": {"n": n}}
        if session:
            body["session_id"] = session
        if self.ask("POST", "/execute", body)["result"] != n:
            raise RuntimeError("wrong answer")

    def idle(self) -> list[dict[str, Any]]:
        return [w for w in self.ask("GET", "/workers")["workers"] if w["state"] == "idle" and "session_id" not in w]


@contextlib.contextmanager
def serve(options: argparse.Namespace, *flags: str) -> Iterator[Service]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [options.charmer, "serve", str(APP), "--python", options.python, "--listen", f"127.0.0.1:{port}", "--log-level", "error", *flags]
    process = subprocess.Popen(command, env={**os.environ, "BENCH_IMPORTS": options.imports})
    service = Service(process, port)
    try:
        for _ in range(3000):
            try:
                service.ask("GET", "/health/ready")
                break
            except (OSError, RuntimeError):  # it does not listen yet, or is not ready
                service.hang_up()
                time.sleep(0.01)
        yield service
    finally:
        process.terminate()
        process.wait()


def timed(what: Callable[[], object]) -> float:
    """Return the milliseconds that what takes."""
    began = time.perf_counter()
    what()
    return (time.perf_counter() - began) * 1000


def show(name: str, times: list[float]) -> None:
    times.sort()
    print(f"{name}: p50 {statistics.median(times):.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms of {len(times)}", flush=True)


def creations(options: argparse.Namespace) -> None:
    """Open sessions by a first call, with a pause in which the spares come up again, and without spares."""
    for name, flags, pause in (("with spares", (), 0.05), ("without spares", ("--spares=0",), 0.0)):
        with serve(options, "--workers=2", *flags) as service:
            time.sleep(0.5)
            times = []
            for i in range(100):
                times.append(timed(lambda: service.call(i, f"s{i}")))
                time.sleep(pause)
            show(f"session opened and first call answered, {name}", times)


def replacements(options: argparse.Namespace) -> None:
    """Kill one of two workers, again and again, and see how long the pool is short of one."""
    for name, flags in (("with spares", ()), ("without spares", ("--spares=0",))):
        with serve(options, "--workers=2", *flags) as service:
            times = []
            for i in range(60):
                for _ in range(4):
                    service.call(i)  # so that its workers are known to live
                while len(service.idle()) < 2:
                    pass
                victim = service.idle()[0]["pid"]

                def restored() -> None:
                    os.kill(victim, signal.SIGKILL)
                    while len([w for w in service.idle() if w["pid"] != victim]) < 2:
                        pass

                times.append(timed(restored))
                time.sleep(0.05)
            show(f"kill -9 to restored size, {name}", times)


def thousand(options: argparse.Namespace) -> None:
    """Open many sessions, call each, and end all."""
    n = options.sessions
    with serve(options, "--workers=2", f"--max-sessions={n + 10}") as service:
        service.call(0, "first")
        one: list[float] = []
        for i in range(2000):
            one.append(timed(lambda: service.call(i, "first")))
        show("call, 1 session", one)
        show(f"session opened, {n} in a row", [timed(lambda: service.call(i, f"s{i}")) for i in range(n - 1)])
        many: list[float] = []
        for _ in range(2):
            many += [timed(lambda: service.call(i, f"s{i}")) for i in range(n - 1)]
        show(f"call, {n} sessions in turn", many)
        again: list[float] = []
        for i in range(2000):
            again.append(timed(lambda: service.call(i, "first")))
        show(f"call, the same session of {n}", again)
        print(f"ratio of p50, in turn: {statistics.median(many) / statistics.median(one):.2f}; the same one: {statistics.median(again) / statistics.median(one):.2f}")
        workers = service.ask("GET", "/workers?usage=true")["workers"]
        private = sorted(w["usage"]["private_bytes"] / 1e6 for w in workers if "session_id" in w)
        pids = [w["pid"] for w in workers]
        print(f"{len(private)} sessions, private memory: median {statistics.median(private):.2f} MB, most {private[-1]:.2f} MB", flush=True)
    left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    print(f"processes left after the drain: {len(left)} of {len(pids)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charmer", default="./charmer")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--imports", default="")
    parser.add_argument("--sessions", type=int, default=1000)
    options = parser.parse_args()
    creations(options)
    replacements(options)
    thousand(options)


if __name__ == "__main__":
    main()
