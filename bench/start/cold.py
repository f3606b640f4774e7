"""Measures what a call costs in a process that has not run for a thousand others, without charmer: what sessions cannot do without.

    python3 bench/start/cold.py [--processes 1000] [--calls 20000] [--rounds 5]

Forks processes that do the least that a worker does: read a message from a socket, json.loads, json.dumps, write. Asks one of them
again and again, then all of them in random order, and prints the p50 of both by round.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import signal
import socket
import statistics
import time
from typing import List, NoReturn

MESSAGE = json.dumps({"command": "count", "args": {"value": "x" * 100}}).encode()


def work(fd: int) -> NoReturn:
    """Answer messages until there are no more."""
    while True:
        message = os.read(fd, 1 << 16)
        if not message:
            os._exit(0)
        os.write(fd, json.dumps({"result": json.loads(message)["args"]}).encode())


def p50(fds: List[int], calls: int) -> float:
    """Return the median time of calls to processes drawn at random, in microseconds."""
    times = []
    for _ in range(calls):
        fd = random.choice(fds)
        began = time.perf_counter()
        os.write(fd, MESSAGE)
        os.read(fd, 1 << 16)
        times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    gc.collect()
    gc.freeze()
    ours: List[socket.socket] = []
    pids: List[int] = []
    try:
        for _ in range(options.processes):
            parent, child = socket.socketpair()
            pid = os.fork()
            if not pid:
                parent.close()
                work(child.fileno())
            child.close()
            ours.append(parent)
            pids.append(pid)
        fds = [s.fileno() for s in ours]
        p50(fds, options.calls)  # warms up
        for _ in range(options.rounds):
            one, all_of_them = p50(fds[:1], options.calls), p50(fds, options.calls)
            print(f"one process {one:.1f} us, {options.processes:,} processes {all_of_them:.1f} us, {all_of_them / one:.1f} times, {all_of_them - one:.1f} us more")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
