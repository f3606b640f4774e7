"""LitServe: one of the functions in an API class, behind the route of its name."""

import json
import os
from typing import Any, AsyncIterator, Iterator

import litserve as ls
import work

ROUTE = os.environ["BENCH_WORK"]
NAME = {"same": "echo"}.get(ROUTE, ROUTE)


class Base(ls.LitAPI):
    def setup(self, device: str) -> None:
        work.ready()


class Plain(Base):
    def decode_request(self, request):  # without a type: the JSON body as it is
        return request

    def predict(self, x: Any) -> Any:
        return getattr(work, NAME)(**x)

    def encode_response(self, output: Any) -> Any:
        return output


class Async(Base):
    async def decode_request(self, request):  # without a type: the JSON body as it is
        return request

    async def predict(self, x: Any) -> Any:
        return await getattr(work, NAME)(**x)

    async def encode_response(self, output: Any) -> Any:
        return output


class Batch(Plain):
    def predict(self, x: Any) -> Any:
        return work.together([item["x"] for item in x])


class Stream(Plain):
    def predict(self, x: Any) -> Iterator[Any]:
        yield from getattr(work, NAME)(**x)

    def encode_response(self, output):  # without types: FastAPI would make a model of them
        for item in output:
            yield json.dumps(item) + "\n"


class AsyncStream(Base):
    async def decode_request(self, request):  # without a type: the JSON body as it is
        return request

    async def predict(self, x: Any) -> AsyncIterator[Any]:
        async for item in getattr(work, NAME)(**x):
            yield item

    async def encode_response(self, output):  # without types: FastAPI would make a model of them
        async for item in output:
            yield json.dumps(item) + "\n"


if __name__ == "__main__":
    kind = {"nap": Async, "numbers": Stream, "anumbers": AsyncStream, "together": Batch}.get(NAME, Plain)
    batch = {"max_batch_size": 32, "batch_timeout": 0.005} if kind is Batch else {}
    api = kind(api_path="/" + ROUTE, stream="numbers" in NAME, enable_async=kind in (Async, AsyncStream), **batch)
    server = ls.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ["BENCH_WORKERS"]),
        timeout=float(os.environ.get("BENCH_WAIT", "30")),
        restart_workers=True,
    )
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="error", generate_client_file=False, access_log=False)
