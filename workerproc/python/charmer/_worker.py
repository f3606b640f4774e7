"""The life of a worker: start, serve, stop. Source: docs/protocol.md, sections 3, 4 and 6."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Dict, Final, Iterator

from . import _guard
from ._classes import is_a
from ._commands import describe, needs_loop
from ._encode import encode_fields
from ._failure import exit_code, is_exit, traceback_text
from ._frames import CALL, ERROR, HELLO, OVERHEAD, PING, PONG, PROGRESS, READY
from ._frames import Frame, FrameError, FrameWriter, read_frames
from ._limits import limit_worker
from ._output import Output
from ._process import Process, StartError
from ._registry import REGISTRY
from ._run import Runner

_EXIT_INTERRUPTED: Final = 130


def main() -> None:
    """Run a worker in this process, from the import of the app on."""
    live(Process((_guard.FRAMES_IN, _guard.FRAMES_OUT)), imported=False)


def live(process: Process, imported: bool) -> None:
    """Be a worker, and leave through the interpreter's normal exit, or at once if it breaks."""
    try:
        limit_worker(process.limits)
        os.set_blocking(_guard.FRAMES_IN, True)
        os.set_blocking(_guard.FRAMES_OUT, True)
        _guard.raise_oom_score()
        _guard.give_way()
        _guard.become_subreaper()
        process.writer.send(HELLO, encode_fields(process.hello()))
        if not _start(process, imported):
            raise SystemExit(1)
        if serves_on_a_loop():
            from ._loop import Server

            server = Server(process, partial(stray, process.output))
            code = server.serve()
            _stop(process.runner, process.output)
            server.close()
        else:
            frames = read_frames(_guard.FRAMES_IN, process.max_frame, partial(stray, process.output))
            code = _serve(frames, process.runner, process.writer)
            _stop(process.runner, process.output)
    except KeyboardInterrupt:
        code = _EXIT_INTERRUPTED
    except FrameError as exc:
        process.words.die(str(exc))
    except Exception as exc:
        process.words.die(traceback_text(exc))
    process.ignore_cancels()
    raise SystemExit(code)


def _start(process: Process, imported: bool) -> bool:
    """Import the app unless that is done, and run its on_start hooks; send READY, or say why not.

    Returns:
        Whether the worker can serve.
    """

    def progress(stage: str) -> None:
        process.writer.send(PROGRESS, encode_fields({"stage": stage}))

    def refuse(fields: Dict[str, object]) -> bool:
        process.writer.send(ERROR, encode_fields(fields))
        return False

    failed = None if imported else process.load_app(progress)
    if failed is not None:
        return refuse(failed)
    for hook in REGISTRY.hooks["start"]:
        stage = f"on_start {hook.name}"
        progress(stage)
        failure = process.runner.attempt(hook.function)
        if failure is not None:
            return refuse(process.start_failure(stage, failure))
    if process.ready is None or REGISTRY.hooks["start"]:  # which may have registered more
        process.ready = ready_body(process.max_frame)
    ready, limit = process.ready, process.max_frame
    if len(ready) + OVERHEAD > limit:
        too_large = StartError(f"READY takes {len(ready):,} bytes; the largest frame has {limit:,}")
        return refuse(process.start_failure("import app", too_large))
    process.writer.send(READY, ready)
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
                reply, body = runner.run(text, arrived, call_id)
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


def stray(output: Output, exc: BaseException) -> None:
    """Deal with what a signal handler of the app raised while the worker waited: only an exit ends the worker."""
    if is_exit(exc) or is_a(exc, KeyboardInterrupt):
        raise exc
    output.log_lines("error", ["a signal handler raised between calls", *traceback_text(exc).splitlines()])


def serves_on_a_loop() -> bool:
    """Tell whether a command runs beside others, or is async."""
    return any(map(needs_loop, REGISTRY.commands.values()))


def ready_body(max_frame: int) -> bytes:
    """Return the body of READY, without schemas if a frame cannot have so much.

    Args:
        max_frame: The largest length of a frame, in bytes.
    """
    hooks = [name for name in ("session_start", "session_end") if REGISTRY.hooks[name]]
    for schemas in (True, False):
        ready: Dict[str, object] = {"commands": [describe(command, schemas) for command in REGISTRY.commands.values()]}
        if hooks:
            ready["hooks"] = hooks
        body = encode_fields(ready)
        if len(body) + OVERHEAD <= max_frame:
            break
    return body
