"""FastAPI on uvicorn: the functions as routes, in the loop or, with `def`, in threads."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, AsyncIterator, Iterator

import work
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    work.ready()
    yield


app = FastAPI(lifespan=lifespan)


class Text(BaseModel):
    value: str


class Anything(BaseModel):
    value: Any


class Turns(BaseModel):
    n: int


class Seconds(BaseModel):
    seconds: float


if os.environ.get("BENCH_THREADS"):

    @app.post("/echo")
    def echo(body: Text) -> str:
        return work.echo(body.value)

    @app.post("/same")
    def same(body: Anything) -> Any:
        return work.echo(body.value)

    @app.post("/spin")
    def spin(body: Turns) -> int:
        return work.spin(body.n)

else:

    @app.post("/echo")
    async def echo(body: Text) -> str:
        return work.echo(body.value)

    @app.post("/same")
    async def same(body: Anything) -> Any:
        return work.echo(body.value)

    @app.post("/spin")
    async def spin(body: Turns) -> int:
        return work.spin(body.n)


@app.post("/doze")
def doze(body: Seconds) -> float:
    return work.doze(body.seconds)


@app.post("/nap")
async def nap(body: Seconds) -> float:
    return await work.nap(body.seconds)


def lines(n: int) -> Iterator[str]:
    for item in work.numbers(n):
        yield json.dumps(item) + "\n"


async def alines(n: int) -> AsyncIterator[str]:
    async for item in work.anumbers(n):
        yield json.dumps(item) + "\n"


@app.post("/numbers")
def numbers(body: Turns) -> StreamingResponse:
    return StreamingResponse(lines(body.n), media_type="application/x-ndjson")


@app.post("/anumbers")
async def anumbers(body: Turns) -> StreamingResponse:
    return StreamingResponse(alines(body.n), media_type="application/x-ndjson")
