"""What all calls have in common: failures as exceptions, and patience."""

from __future__ import annotations

import time
from typing import Callable, TypeVar, Union

import httpx

from bookshop.models import Problem

T = TypeVar("T")


class Failure(Exception):
    """A problem document (RFC 9457) as an exception."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail}")
        self.problem = problem


def result(reply: Union[T, Problem]) -> T:
    """Return the result of a call.

    Raises:
        Failure: The service says something else.
    """
    if isinstance(reply, Problem):
        raise Failure(reply)
    return reply


class Patient(httpx.BaseTransport):
    """Repeats a request the service had no worker for, after as long as that says.

    Nothing is run twice: what is answered with 503 was not begun.
    """

    def __init__(self, attempts: int, refused: Callable[[float], None]) -> None:
        """Make one that sends ``attempts`` requests at most, and tells ``refused`` the seconds before each wait."""
        self._attempts = attempts
        self._refused = refused
        self._next = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        attempt = 1
        while True:
            reply = self._next.handle_request(request)
            wait = reply.headers.get("Retry-After")
            if reply.status_code != 503 or wait is None or attempt == self._attempts:
                return reply
            reply.close()
            self._refused(float(wait))
            time.sleep(float(wait))
            attempt += 1

    def close(self) -> None:
        self._next.close()
