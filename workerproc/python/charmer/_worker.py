"""The life of a worker: start, serve, stop. Source: docs/protocol.md, sections 3, 4 and 6."""

from __future__ import annotations

import atexit
import os
import sys
from functools import partial
from typing import Dict, Final, Iterator, Optional

from . import _guard
from ._classes import is_a
from ._commands import describe
from ._encode import encode_fields
from ._failure import exit_code, is_exit, start_fields, traceback_text
from ._frames import CALL, ERROR, HELLO, OVERHEAD, PING, PONG, PROGRESS, READY
from ._frames import Frame, FrameError, FrameWriter, read_frames
from ._loader import find_app, import_app
from ._output import Output
from ._registry import REGISTRY
from ._run import Runner
from ._text import text_limit
from ._version import PROTOCOL, VERSION

_MAX_FRAME: Final = 64 * 1024 * 1024
_MIN_MAX_FRAME: Final = 1024
_EXIT_USAGE: Final = 64
_EXIT_INTERRUPTED: Final = 130
_IMPLEMENTATIONS: Final = {"cpython": "CPython", "pypy": "PyPy"}


class StartError(Exception):
    """The app was imported, but cannot be served."""


StartError.__module__ = "charmer"


def main() -> None:
    """Run one worker in this process, and leave through the interpreter's normal exit, or at once if it breaks."""
    _guard.arm_lifeline()
    _guard.keep_private((_guard.FRAMES_IN, _guard.FRAMES_OUT, _guard.LIFELINE, _guard.STACK))
    if not (_guard.is_open(_guard.FRAMES_IN) and _guard.is_open(_guard.FRAMES_OUT)):
        sys.stderr.write("This is a worker of charmer and speaks to nothing else: run `charmer serve app.py`.\n")
        sys.exit(_EXIT_USAGE)
    os.set_blocking(_guard.FRAMES_IN, True)
    os.set_blocking(_guard.FRAMES_OUT, True)
    words = _guard.last_words()
    stack_signal = _guard.register_stack_dump()
    try:
        max_frame = int(os.environ.get("CHARMER_WORKER_MAX_FRAME", _MAX_FRAME))
        if max_frame < _MIN_MAX_FRAME:
            words.die(f"CHARMER_WORKER_MAX_FRAME is {max_frame}; less than {_MIN_MAX_FRAME} carries no error")
        writer = FrameWriter(_guard.FRAMES_OUT, words.die)
        output = Output(writer, max_frame)
        _guard.guard_forks(words, stack_signal, partial(_cut_off, writer, output))
        output.install()
        atexit.register(output.end_lines)
        runner = Runner(REGISTRY, writer, output, max_frame)
        writer.send(HELLO, _hello(stack_signal))
        if not _start(runner, writer, max_frame):
            raise SystemExit(1)
        frames = read_frames(_guard.FRAMES_IN, max_frame, partial(_stray, output))
        code = _serve(frames, runner, writer)
        _stop(runner, output)
    except KeyboardInterrupt:
        code = _EXIT_INTERRUPTED
    except FrameError as exc:
        words.die(str(exc))
    except Exception as exc:
        words.die(traceback_text(exc))
    raise SystemExit(code)


def _start(runner: Runner, writer: FrameWriter, max_frame: int) -> bool:
    """Import the app and run its on_start hooks; send READY, or say why not.

    Returns:
        Whether the worker can serve.
    """

    def ran(stage: str, failure: Optional[BaseException]) -> bool:
        if failure is not None:
            writer.send(ERROR, encode_fields(start_fields(stage, failure, text_limit(max_frame))))
        return failure is None

    app = find_app(os.environ.get("CHARMER_WORKER_APP", ""))
    writer.send(PROGRESS, encode_fields({"stage": f"import {app.module}"}))
    if not ran("import app", runner.attempt(partial(import_app, app))):
        return False
    if not REGISTRY.commands:
        advice = "write `from charmer import command` in it, and @command above each function to serve"
        return ran("import app", StartError(f"{app.path or app.module} registers no command: {advice}"))
    for hook in REGISTRY.hooks["start"]:
        stage = f"on_start {hook.name}"
        writer.send(PROGRESS, encode_fields({"stage": stage}))
        if not ran(stage, runner.attempt(hook.function)):
            return False
    ready = _ready()
    if len(ready) + OVERHEAD > max_frame:
        return ran("import app", StartError(f"READY takes {len(ready):,} bytes; the largest frame has {max_frame:,}"))
    writer.send(READY, ready)
    return True


def _serve(frames: Iterator[Frame], runner: Runner, writer: FrameWriter) -> int:
    """Answer frames in the order in which they came, each completely before the next.

    Returns:
        The exit code of the process: 0 after STOP or end of input, that of a SystemExit which a call raised.
    """
    try:
        for kind, call_id, text, arrived in frames:
            if kind == CALL:
                writer.running = call_id
                reply, body = runner.run(text, arrived)
                writer.reply(reply, body, call_id)
                if runner.exit_code is not None:
                    return runner.exit_code
            elif kind == PING:
                writer.reply(PONG, b"", call_id)
            else:
                return 0
    except SystemExit as exc:  # from a signal handler of the app, between calls
        return exit_code(exc)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    return 0


def _stop(runner: Runner, output: Output) -> None:
    for hook in REGISTRY.hooks["stop"]:
        failure = runner.attempt(hook.function)
        if failure is not None:
            output.log_lines("error", [f"on_stop {hook.name} raised", *traceback_text(failure).splitlines()])


def _stray(output: Output, exc: BaseException) -> None:
    """Deal with what a signal handler of the app raised while the worker waited: only an exit ends the worker."""
    if is_exit(exc) or is_a(exc, KeyboardInterrupt):
        raise exc
    output.log_lines("error", ["a signal handler raised between calls", *traceback_text(exc).splitlines()])


def _cut_off(writer: FrameWriter, output: Output) -> None:
    writer.dead = True
    output.in_child()


def _hello(stack_signal: Optional[int]) -> bytes:
    name = sys.implementation.name
    fields: Dict[str, object] = {
        "protocol": PROTOCOL,
        "pid": os.getpid(),
        "runtime": f"charmer-python {VERSION}",
        "language": f"{_IMPLEMENTATIONS.get(name, name)} {sys.version.split()[0]}",
    }
    if stack_signal is not None:
        fields["stack_signal"] = stack_signal
    return encode_fields(fields)


def _ready() -> bytes:
    ready: Dict[str, object] = {"commands": [describe(command) for command in REGISTRY.commands.values()]}
    hooks = [name for name in ("session_start", "session_end") if REGISTRY.hooks[name]]
    if hooks:
        ready["hooks"] = hooks
    return encode_fields(ready)
