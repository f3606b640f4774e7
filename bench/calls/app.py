"""What bench/calls measures in charmer. fastapi_app.py has the same for FastAPI."""

import asyncio
import time

from charmer import command

TEXT = "some words of a token stream"


@command
def numbers(n: int):
    for i in range(n):
        yield {"i": i, "text": TEXT}


@command
async def anumbers(n: int):
    for i in range(n):
        yield {"i": i, "text": TEXT}


@command
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@command(batch=True, max_batch=32, max_wait_ms=5)
def together(items):
    time.sleep(0.002)
    return [item["x"] for item in items]
