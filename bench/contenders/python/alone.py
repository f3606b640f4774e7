"""What the work takes in one Python process, without any service: alone.py json FILE SECONDS, or alone.py spin TURNS SECONDS."""

from __future__ import annotations

import json
import sys
import time
from typing import Callable

sys.path.insert(0, "bench/contenders")
import work


def measure(run: Callable[[], object], seconds: float) -> None:
    took: list[float] = []
    until = time.perf_counter() + seconds
    while not took or time.perf_counter() < until:
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    took.sort()
    json.dump(
        {
            "requests/s": len(took) / sum(took),
            "p50 ms": took[len(took) // 2] * 1000,
            "p99 ms": took[min(len(took) - 1, len(took) * 99 // 100)] * 1000,
        },
        sys.stdout,
    )


kind, what, seconds = sys.argv[1:]
if kind == "json":
    with open(what, encoding="utf-8") as file:
        text = file.read()
    measure(lambda: json.dumps(json.loads(text)), float(seconds))
else:
    measure(lambda: work.spin(int(what)), float(seconds))
