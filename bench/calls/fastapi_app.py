"""The commands of app.py as routes of FastAPI, for uvicorn."""

import asyncio
import json

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()
TEXT = "some words of a token stream"


class Count(BaseModel):
    n: int


class Nap(BaseModel):
    seconds: float


def plain(n: int):
    for i in range(n):
        yield json.dumps({"i": i, "text": TEXT}) + "\n"


async def asynchronous(n: int):
    for i in range(n):
        yield json.dumps({"i": i, "text": TEXT}) + "\n"


@app.post("/numbers")
def numbers(body: Count):
    return StreamingResponse(plain(body.n), media_type="application/x-ndjson")


@app.post("/anumbers")
async def anumbers(body: Count):
    return StreamingResponse(asynchronous(body.n), media_type="application/x-ndjson")


@app.post("/nap")
async def nap(body: Nap):
    await asyncio.sleep(body.seconds)
    return body.seconds
