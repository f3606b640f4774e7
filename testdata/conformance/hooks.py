"""What Schemathesis has to know about charmer that OpenAPI cannot say."""

from __future__ import annotations

import json
import re
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.openapi.checks import AllowHeaderMismatch, RejectedPositiveData

# The longest that a request may have the service wait, in milliseconds. Valid ones may wait for an hour, and hold a worker for a day.
LONGEST = {"timeout_ms": 500.0, "checkout_timeout_ms": 100.0, "ttl_ms": 200.0}

# Where the body or the path names a command, the schema of whose arguments the contract cannot know.
NAMED = {"POST /execute", "POST /broadcast", "POST /commands/{command}"}

# What a member or a parameter depends on another one for, or on the command, as details of `invalid_request` say it.
DEPENDS = re.compile("excludes|is required when type is session|is not allowed when type is anonymous|takes no lease and no session")

# What Python has no value for: contentEncoding is an annotation, and a timedelta has neither years nor months.
ANNOTATED = re.compile("^is not (base64|a duration in weeks)")


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Shorten waits that are valid."""
    for where in (case.body, case.query):
        if isinstance(where, dict):
            for name, longest in LONGEST.items():
                if isinstance(where.get(name), (int, float)) and not isinstance(where[name], bool) and longest < where[name] <= 86_400_000:
                    where[name] = longest


@schemathesis.hook
def filter_failure(context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case, response: schemathesis.Response) -> bool:
    """Say whether a failure is one."""
    if isinstance(failure, AllowHeaderMismatch):
        # GET of the path of one command is documented at /commands/{command}, to which that check does not look.
        path = case.operation.path
        return not (path.startswith("/commands/") and failure.undocumented_methods == ["GET"] and not failure.missing_methods)
    if isinstance(failure, AcceptedNegativeData):
        return not beyond_int64(case.body)  # format tells generators what is enough for most; Python has integers of any size
    try:
        problem = json.loads(response.content)
    except ValueError:
        return True
    if not isinstance(problem, dict):
        return True
    if isinstance(failure, ServerError):
        return not refused_for_now(response.status_code, problem)
    if isinstance(failure, RejectedPositiveData):
        return not (depends_on_more(case.operation.label, response.status_code, problem) or beyond_keywords(case, problem))
    return True


def refused_for_now(status: int, problem: dict[str, Any]) -> bool:
    """Say whether an answer of the 500s is that of a service without a bug that is busy, or was given too little time."""
    return (status == 503 and problem.get("retryable") is True) or (status == 504 and problem.get("code") == "execution_timeout")


def depends_on_more(operation: str, status: int, problem: dict[str, Any]) -> bool:
    """Say whether a request is refused for what no schema tells."""
    code, errors = problem.get("code"), problem.get("errors", [])
    if status == 410:
        return code in ("lease_expired", "session_lost")  # what has been there before: Schemathesis allows that as 404
    if status == 400 and code == "invalid_args":
        return operation in NAMED
    if status == 400 and code == "invalid_request":
        # What a message is, the Model Context Protocol says.
        return operation == "POST /mcp" or any(DEPENDS.search(detail) for detail in [problem["detail"], *(error["detail"] for error in errors)])
    return False


def beyond_keywords(case: schemathesis.Case, problem: dict[str, Any]) -> bool:
    """Say whether arguments are refused for what the keywords of the document do not say of a type."""
    if problem.get("code") != "invalid_args":
        return False
    if case.operation.schema.specification.version.startswith("3.0"):
        return True  # it has no words for tuples, among others; openapi.json is held to all
    return all(ANNOTATED.search(error["detail"]) for error in problem["errors"])


def beyond_int64(value: object) -> bool:
    """Say whether there is an integer that 64 bits cannot hold."""
    if isinstance(value, dict):
        return any(beyond_int64(member) for member in value.values())
    if isinstance(value, list):
        return any(beyond_int64(item) for item in value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63
