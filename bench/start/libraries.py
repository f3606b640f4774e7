"""Measure libraries under `charmer serve`: how an app that imports one starts, and what its workers take.

    python3 bench/start/libraries.py --charmer ./charmer --python /path/to/venv/bin/python numpy pandas litellm

For each library it serves an app that imports it, with fork and with exec, and prints one row of the table in
docs/preloading.md. A library without an entry in USES is imported, and its workers answer trivial calls only. Variables of
the environment reach charmer, so what they change can be measured too. Linux; standard library only.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import statistics
import sys
import tempfile
import threading
from typing import Any, Final

from service import Service, serve

TRIVIAL_CALLS: Final = 10_000
STARTS: Final = 10
MB: Final = 1e6

CHAT: Final = "[{'role': 'user', 'content': 'hi'}]"
USES: Final[dict[str, tuple[str, str]]] = {  # what the app imports, and what one call computes
    "numpy": ("import numpy as np", "(np.random.rand(400, 400) @ np.random.rand(400, 400)).shape"),
    "pandas": ("import pandas as pd", "pd.DataFrame({'k': [1, 2] * 50_000, 'v': range(100_000)}).groupby('k').v.sum().tolist()"),
    "sklearn": (
        "import numpy as np\nfrom sklearn.ensemble import HistGradientBoostingClassifier as Model",
        "Model(max_iter=10).fit(np.random.rand(2000, 10), np.arange(2000) % 2).n_iter_",
    ),
    "pydantic": ("import pydantic\nclass M(pydantic.BaseModel):\n    a: int", "M.model_validate({'a': '3'}).a"),
    "fastapi": ("import fastapi\napp = fastapi.FastAPI()\napp.get('/')(lambda q=1: q)", "len(app.openapi())"),
    "httpx": ("import httpx", "httpx.get(URL).status_code"),
    "openai": (
        "import openai",
        f"openai.OpenAI(base_url=URL, api_key='k').chat.completions.create(model='m', messages={CHAT}).model",
    ),
    "litellm": ("import litellm", f"litellm.completion(model='openai/m', api_base=URL, api_key='k', messages={CHAT}).model"),
    "dspy": ("import dspy", f"dspy.LM('openai/m', api_base=URL, api_key='k', cache=False)(messages={CHAT})[0]"),
    "polars": ("import polars as pl", "pl.DataFrame({'k': [1, 2] * 50_000}).group_by('k').len().height"),
    "pyarrow": ("import pyarrow as pa, pyarrow.compute as pc", "pc.sum(pa.array(range(100_000))).as_py()"),
    "lightgbm": ("import lightgbm, numpy as np", "lightgbm.train({'verbose': -1}, lightgbm.Dataset(np.random.rand(2000, 9), np.arange(2000)), 5).num_trees()"),
    "torch": ("import torch", "(torch.rand(500, 500) @ torch.rand(500, 500)).shape[0]"),
    "xgboost": ("import xgboost, numpy as np", "xgboost.train({}, xgboost.DMatrix(np.random.rand(2000, 9), np.arange(2000) % 2), 5).num_boosted_rounds()"),
    "duckdb": ("import duckdb", "duckdb.sql('select sum(i) from range(1000000) t(i)').fetchall()[0][0]"),
    "nine": (
        "import numpy as np, pandas, sklearn.linear_model, pydantic, fastapi, httpx, openai, litellm, dspy",
        f"litellm.completion(model='openai/m', api_base=URL, api_key='k', messages={CHAT}).model",
    ),
}

APP: Final = """\
import gc
from charmer import command
URL = {url!r}
{imports}

@command
def trivial(i: int, name: str) -> dict:
    return {{"i": i, "name": name}}

@command
def collect() -> int:
    return gc.collect()

@command
def use() -> str:
    return str({use})
"""

MESSAGE: Final = {"role": "assistant", "content": "hello"}
REPLY: Final = json.dumps(
    {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}]}
).encode()


class Model(http.server.BaseHTTPRequestHandler):
    """A language model that says hello."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(REPLY)))
        self.end_headers()
        self.wfile.write(REPLY)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


def idle(service: Service, after: int = 0) -> dict[str, Any]:
    """Wait for an idle worker with a number above after, and return it."""

    def found() -> list[dict[str, Any]]:
        workers = service.ask("GET", "/workers?usage=true")["workers"]
        return [worker for worker in workers if worker["state"] == "idle" and worker["id"] > after]

    return dict(service.await_("an idle worker", found)[0])


def call(service: Service, command: str, **args: object) -> Any:
    return service.ask("POST", "/execute", {"command": command, "args": args, "timeout_ms": 60_000})["result"]


def measure(service: Service) -> dict[str, Any]:
    """Measure one service: megabytes that a worker has for itself, milliseconds from spawn to ready."""
    worker = idle(service)
    fresh = worker["usage"]["private_bytes"] / MB
    for i in range(TRIVIAL_CALLS):
        call(service, "trivial", i=i, name="x" * 20)
    call(service, "collect")
    later = idle(service)["usage"]["private_bytes"] / MB
    answer = call(service, "use")
    used = idle(service)["usage"]["private_bytes"] / MB
    starts: list[float] = []
    for _ in range(STARTS):
        service.ask("POST", f"/workers/{worker['id']}/recycle")
        worker = idle(service, after=worker["id"])
        starts.append(worker["ready_after_ms"])
    if call(service, "use") is None or answer is None:
        raise RuntimeError("a call came to nothing")
    return {"fresh": fresh, "later": later, "used": used, "start": statistics.median(starts), "method": worker["start_method"]}


def row(charmer: str, python: str, library: str, url: str) -> str:
    imports, use = USES.get(library, (f"import {library}", "1"))
    with tempfile.TemporaryDirectory() as directory:
        app = os.path.join(directory, f"app_{library}.py")
        with open(app, "w", encoding="utf-8") as file:
            file.write(APP.format(url=url, imports=imports, use=use))
        flags = (directory, "--workers=1", "--spares=0", "--start-timeout=90s")
        with serve(charmer, python, app, *flags, "--no-preload") as service:
            exec_ = measure(service)
        with serve(charmer, python, app, *flags) as service:
            fork = measure(service)
            zygote = service.ask("GET", "/health")["zygote"]
    cells = [library, fork["method"], f"{exec_['start']:,.0f} ms"]
    if fork["method"] == "fork":
        cells += [f"{fork['start']:.1f} ms", f"{exec_['fresh']:.0f} MB", *(f"{fork[at]:.1f} MB" for at in ("fresh", "later", "used"))]
    else:
        cells += ["", f"{exec_['fresh']:.0f} MB", "", "", zygote.get("reason", "")]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charmer", default="./charmer")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("libraries", nargs="+", metavar="library")
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("| library | start method | ready, exec | ready, fork | private, exec | private, fork | after 10,000 calls | after a use |\n" + "|---" * 8 + "|")
    for library in options.libraries:
        print(row(options.charmer, options.python, library, f"http://127.0.0.1:{server.server_port}/v1"), flush=True)


if __name__ == "__main__":
    main()
