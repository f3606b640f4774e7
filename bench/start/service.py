"""A charmer to measure, and a client of it over one connection; for the programs beside this one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
from typing import Any, Callable, Iterator, Sequence

WITHIN = 120.0
"""Seconds in which whatever is waited for must come."""


class Service:
    """A running charmer."""

    def __init__(self, port: int, log: str) -> None:
        self.log = log
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the reply's JSON.

        Raises:
            RuntimeError: The status is not one of success.
            OSError: There is no connection.
        """
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            reply = self._connection.getresponse()
            text = reply.read()
        except OSError:
            self._connection.close()
            raise
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text.decode()[:2000]}")
        return json.loads(text) if text else None

    def await_(self, what: str, found: Callable[[], Any]) -> Any:
        """Ask again and again until found returns something, and return that."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            try:
                if value := found():
                    return value
            except (OSError, RuntimeError):  # it does not listen yet, or is not ready
                pass
            time.sleep(0.002)
        raise RuntimeError(f"not within {WITHIN} s: {what}; {self.ask('GET', '/health')}")

    def events(self) -> list[dict[str, Any]]:
        """Return the lines of the service's log."""
        with open(self.log, encoding="utf-8") as log:
            return [json.loads(line) for line in log if line.endswith("\n")]


@contextlib.contextmanager
def serve(charmer: str, python: str, app: str, directory: str, *flags: str, **environment: str) -> Iterator[Service]:
    """Serve an app, with a log in directory, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = os.path.join(directory, "log")
    command: Sequence[str] = (charmer, "serve", app, "--python", python, "--listen", f"127.0.0.1:{port}", "--log-format", "json", *flags)
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
    service = Service(port, log)
    try:
        service.await_("ready", lambda: service.ask("GET", "/health/ready"))
        yield service
    finally:
        process.terminate()
        process.wait()
