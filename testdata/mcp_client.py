"""Calls the commands of toolsApp (e2e_mcp_test.go) with the official Python client of the Model Context Protocol.

The first argument is the URL. The last line of the output is `all well` if nothing was wrong. The client checks results against the
schemas of the tools' output by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from mcp import Client


async def main(url: str, mode: str) -> None:
    async with Client(url, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["greet"].title == "Greet somebody", tools["greet"]
        assert tools["greet"].annotations.idempotent_hint is True, tools["greet"]

        result = await client.call_tool("greet", {"name": "Ada"})
        assert not result.is_error and result.structured_content == {"result": "hello Ada"}, result
        result = await client.call_tool("mirror", {"point": {"x": 1}})
        assert result.structured_content == {"x": 0, "y": 1}, result
        result = await client.call_tool("count_to", {"n": 3})
        assert result.structured_content == {"result": [1, 2, 3]}, result
        for want in (1, 2):
            result = await client.call_tool("count", {}, meta={"charmer/session_id": f"python-{mode}"})
            assert result.structured_content == {"result": want}, result

        for name, arguments, code in (("greet", {}, "invalid_args"), ("fail", {}, "command_failed"), ("crash", {}, "worker_crashed")):
            result = await client.call_tool(name, arguments)
            assert result.is_error and json.loads(result.content[0].text)["code"] == code, result

        said: list[tuple[float, float | None, str | None]] = []
        with tempfile.TemporaryDirectory() as place:

            async def progressed(progress: float, total: float | None, message: str | None) -> None:
                said.append((progress, total, message))
                Path(place, ["first", "second", "third"][len(said) - 1]).touch()

            result = await client.call_tool("tell", {"dir": place}, progress_callback=progressed)
        assert result.structured_content == {"result": "done"}, result
        assert said[0] == (0.25, 1, "a quarter") and [s[2] for s in said] == ["a quarter", "more", "less"], said

        with tempfile.TemporaryDirectory() as place:
            call = asyncio.create_task(client.call_tool("stay", {"dir": place, "name": "here"}))
            while not Path(place, "here").exists():
                await asyncio.sleep(0.005)
            call.cancel()
            # The only worker is free again for this call only if the other one has ended.
            result = await client.call_tool("greet", {"name": "Eve"})
            assert result.structured_content == {"result": "hello Eve"}, result


for mode in ("auto", "legacy", "2026-07-28"):
    asyncio.run(main(sys.argv[1], mode))
    print(mode, "is done")
print("all well")
