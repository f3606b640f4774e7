"""mosec: one of the functions in a worker class, behind the route of its name."""

from __future__ import annotations

import json
import os
from typing import Any

import work
from mosec import Server, SSEWorker, Worker

ROUTE = os.environ["BENCH_WORK"]
NAME = {"same": "echo", "nap": "doze"}.get(ROUTE, ROUTE)


class Plain(Worker):
    def __init__(self) -> None:
        super().__init__()
        work.ready()

    def forward(self, data: Any) -> Any:
        return getattr(work, NAME)(**data)


class Batch(Worker):
    def __init__(self) -> None:
        super().__init__()
        work.ready()

    def forward(self, data: list[Any]) -> list[Any]:
        return work.together([item["x"] for item in data])


class Stream(SSEWorker):
    def __init__(self) -> None:
        super().__init__()
        work.ready()

    def forward(self, data: Any) -> Any:
        for item in getattr(work, NAME)(**data):
            self.send_stream_event(json.dumps(item))
        return ""


if __name__ == "__main__":
    server = Server()
    kind = {"numbers": Stream, "together": Batch}.get(NAME, Plain)
    batch = {"max_batch_size": 32, "max_wait_time": 5} if kind is Batch else {}
    server.append_worker(kind, num=int(os.environ["BENCH_WORKERS"]), route="/" + ROUTE, **batch)
    server.run()
