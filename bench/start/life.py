"""Measure what cheap workers are for: sessions, replacements, a thousand processes at once; see bench/README.md.

    python3 bench/start/life.py --charmer ./charmer --python /path/to/venv/bin/python [--imports numpy,fastapi]

Linux; standard library only. Times are taken by one client over one connection, and include HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Iterator

from service import Service, serve

APP = Path(__file__).with_name("app.py")
SPARES = 2
"""That the service keeps by itself where it forks."""

VARIANTS = (("with spares", SPARES, ()), ("without spares", 0, ("--spares=0",)))


@contextlib.contextmanager
def serving(options: argparse.Namespace, *flags: str) -> Iterator[Service]:
    with (
        tempfile.TemporaryDirectory() as directory,
        serve(options.charmer, options.python, str(APP), directory, *flags, BENCH_IMPORTS=options.imports) as service,
    ):
        yield service


def call(service: Service, n: int, session: str | None = None) -> None:
    body: dict[str, object] = {"command": "echo", "args": {"n": n}}
    if session:
        body["session_id"] = session
    if service.ask("POST", "/execute", body)["result"] != n:
        raise RuntimeError("wrong answer")


def idle(service: Service) -> list[dict[str, Any]]:
    return [w for w in service.ask("GET", "/workers")["workers"] if w["state"] == "idle" and "session_id" not in w]


def rest(service: Service, workers: int, spares: int) -> None:
    """Wait until all workers and spares are there."""

    def there() -> bool:
        counts = service.ask("GET", "/health")["workers"]
        return bool(counts["idle"] == workers and counts["spare"] == spares and counts["stopping"] == 0)

    service.await_("all workers and spares", there)


def timed(what: Callable[[], object]) -> float:
    """Return the milliseconds that what takes."""
    began = time.perf_counter()
    what()
    return (time.perf_counter() - began) * 1000


def show(name: str, times: list[float]) -> None:
    times.sort()
    print(f"{name}: p50 {statistics.median(times):.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms of {len(times)}", flush=True)


def creations(options: argparse.Namespace) -> None:
    """Open sessions by a first call, each when the spares are there again, or without spares."""
    for name, spares, flags in VARIANTS:
        with serving(options, "--workers=2", *flags) as service:
            times = []
            for i in range(200):
                rest(service, 2, spares)
                times.append(timed(lambda: call(service, i, f"s{i}")))
            show(f"session opened and first call answered, {name}", times)


def replacements(options: argparse.Namespace) -> None:
    """Kill one of two workers that have answered calls, again and again, and see how long the pool is short of one."""
    for name, spares, flags in VARIANTS:
        with serving(options, "--workers=2", *flags) as service:
            times = []
            for i in range(200):
                rest(service, 2, spares)
                call(service, i)
                victim = max(idle(service), key=lambda worker: worker["calls"])["pid"]

                def restored() -> None:
                    os.kill(victim, signal.SIGKILL)
                    while len([w for w in idle(service) if w["pid"] != victim]) < 2:
                        pass

                times.append(timed(restored))
            show(f"kill -9 to restored size, {name}", times)


def startup(options: argparse.Namespace) -> None:
    """Start a pool of eight, and see how long after the import it is complete."""
    took, imports = [], []
    for _ in range(11):
        with serving(options, "--workers=8", "--spares=0") as service:
            rest(service, 8, 0)
            at = {message: [datetime.fromisoformat(e["time"][:26]) for e in service.events() if e["msg"] == message] for message in ("app imported", "worker ready")}
            imports.append(service.ask("GET", "/health")["zygote"]["import_ms"])
            took.append((max(at["worker ready"]) - at["app imported"][0]).total_seconds() * 1000)
    print(f"8 workers ready after an import of {statistics.median(imports):.0f} ms: median {statistics.median(took):.1f} ms, most {max(took):.1f} ms of {len(took)}", flush=True)


def thousand(options: argparse.Namespace) -> None:
    """Open many sessions, call each, and end all."""
    n = options.sessions
    with serving(options, "--workers=2", f"--max-sessions={n + 10}") as service:
        call(service, 0, "first")
        one = [timed(lambda: call(service, i, "first")) for i in range(2000)]
        show("call, 1 session", one)
        show(f"session opened, {n} in a row", [timed(lambda: call(service, i, f"s{i}")) for i in range(n - 1)])
        many = [timed(lambda: call(service, i, f"s{i % (n - 1)}")) for i in range(2 * (n - 1))]
        show(f"call, {n} sessions in turn", many)
        again = [timed(lambda: call(service, i, "first")) for i in range(2000)]
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
    startup(options)
    thousand(options)


if __name__ == "__main__":
    main()
