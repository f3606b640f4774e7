"""Ray Serve: the functions in a deployment with two replicas."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import AsyncIterator, Iterator

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import work
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse


def lines(n: int) -> Iterator[str]:
    for item in work.numbers(n):
        yield json.dumps(item) + "\n"


async def alines(n: int) -> AsyncIterator[str]:
    async for item in work.anumbers(n):
        yield json.dumps(item) + "\n"


@serve.deployment(num_replicas=int(os.environ["BENCH_WORKERS"]), max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
class Functions:
    def __init__(self) -> None:
        work.ready()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def together(self, xs: list[int]) -> list[int]:
        return work.together(xs)

    async def __call__(self, request: Request) -> Response:
        name, args = request.url.path.strip("/"), await request.json()
        if name == "nap":
            return JSONResponse(await work.nap(**args))
        if name == "numbers":
            return StreamingResponse(lines(**args), media_type="application/x-ndjson")
        if name == "anumbers":
            return StreamingResponse(alines(**args), media_type="application/x-ndjson")
        if name == "together":
            return JSONResponse(await self.together(args["x"]))
        return JSONResponse(getattr(work, {"same": "echo"}.get(name, name))(**args))


if __name__ == "__main__":
    # A short name: the paths of sockets in it must be shorter than 108 bytes.
    folder = os.path.join(os.path.dirname(os.environ["BENCH_MARKS"]), f"r{os.getpid()}")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20, _temp_dir=folder, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    serve.run(Functions.bind(), route_prefix="/")
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    end.wait()
    serve.shutdown()
    ray.shutdown()
