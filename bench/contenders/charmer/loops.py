"""The commands that need an event loop, on which workers then serve all of them."""

from __future__ import annotations

from typing import Any, AsyncIterator

import work
from charmer import command


@command
async def nap(seconds: float) -> float:
    return await work.nap(seconds)


@command
async def anumbers(n: int) -> AsyncIterator[dict[str, Any]]:
    async for item in work.anumbers(n):
        yield item


@command(batch=True, max_batch=32, max_wait_ms=5)
def together(items: Any) -> list[int]:
    return work.together([item["x"] for item in items])
