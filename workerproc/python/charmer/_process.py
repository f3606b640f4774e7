"""What a process of charmer's has in place before the app is imported, be it a worker or the zygote."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from functools import partial
from typing import Callable, Dict, Final, List, Optional, Sequence

from . import _guard
from ._failure import start_fields
from ._frames import FrameWriter
from ._limits import read_limits
from ._loader import find_app, import_app
from ._output import Output
from ._registry import REGISTRY
from ._run import Runner
from ._text import text_limit
from ._turns import Gate
from ._version import PROTOCOL, VERSION

_MAX_FRAME: Final = 64 * 1024 * 1024
_MIN_MAX_FRAME: Final = 1024
_EXIT_USAGE: Final = 64
_IMPLEMENTATIONS: Final = {"cpython": "CPython", "pypy": "PyPy"}


class StartError(Exception):
    """The app was imported, but cannot be served."""


StartError.__module__ = "charmer"


class Process:
    """Descriptors, streams and guards of this process. There is one."""

    def __init__(self, needed: Sequence[int], zygote: bool = False) -> None:
        """Take the process over, or leave it with a message.

        Args:
            needed: Descriptors without which nobody has started it who speaks the protocol.
            zygote: Whether this has workers forked from it, which find their control socket in place of what it has there.
        """
        _guard.arm_lifeline()
        _guard.keep_private((_guard.FRAMES_IN, _guard.FRAMES_OUT, _guard.LIFELINE, _guard.STACK))
        if not all(map(_guard.is_open, needed)):
            sys.stderr.write("This is a worker of charmer and speaks to nothing else: run `charmer serve app.py`.\n")
            raise SystemExit(_EXIT_USAGE)
        self.words = _guard.last_words()
        self.stack_signal = _guard.register_stack_dump()
        self.calls = REGISTRY.calls
        if not zygote:
            self.calls.control.open()
        self._cancel_signal = _guard.cancel_signal()
        if self._cancel_signal is not None and (zygote or self.calls.control.fd >= 0):
            signal.signal(self._cancel_signal, self.calls.on_signal)
        self.limits = read_limits(os.environ)
        self.max_frame = int(os.environ.get("CHARMER_WORKER_MAX_FRAME", _MAX_FRAME))
        if self.max_frame < _MIN_MAX_FRAME:
            self.words.die(f"CHARMER_WORKER_MAX_FRAME is {self.max_frame}; less than {_MIN_MAX_FRAME} carries no error")
        self.writer = FrameWriter(_guard.FRAMES_OUT, self.words.die, Gate(self.calls.here))
        self.calls.writer = self.writer
        self.output = Output(self.writer, self.max_frame)
        self.guard = _guard.ForkGuard(self.owned(), self.stack_signal, self._cut_off)
        self.output.install()
        REGISTRY.output = self.output
        atexit.register(self.output.end_lines)
        self.runner = Runner(REGISTRY, self.writer, self.output, self.max_frame)
        self.ready: Optional[bytes] = None
        """Body of READY, made in the zygote for all its workers."""

    def owned(self) -> List[int]:
        """Return the descriptors that are this process's own, as a worker or as the zygote."""
        owned = [_guard.FRAMES_IN, _guard.FRAMES_OUT, _guard.LIFELINE, _guard.STACK]
        if self.calls.control.fd >= 0:
            owned.append(self.calls.control.fd)
        return owned + [fd for fd in (self.words.fd,) if fd is not None]

    def hello(self) -> Dict[str, object]:
        """Return the body of HELLO."""
        name = sys.implementation.name
        fields: Dict[str, object] = {
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "runtime": f"charmer-python {VERSION}",
            "language": f"{_IMPLEMENTATIONS.get(name, name)} {sys.version.split()[0]}",
            "packets": True,
        }
        if self.stack_signal is not None:
            fields["stack_signal"] = self.stack_signal
        if self._can_cancel():
            fields["cancel_signal"] = self._cancel_signal
        return fields

    def ignore_cancels(self) -> None:
        """Take no more cancels, at the end: the interpreter would go back to what the signal does by default."""
        if self._can_cancel() and self._cancel_signal is not None:
            signal.signal(self._cancel_signal, signal.SIG_IGN)

    def _can_cancel(self) -> bool:
        """Tell whether cancels can reach the calls: there is a socket, and the import has left the signal alone."""
        if self._cancel_signal is None or self.calls.control.fd < 0:
            return False
        return signal.getsignal(self._cancel_signal) == self.calls.on_signal

    def load_app(self, progress: Callable[[str], None]) -> Optional[Dict[str, object]]:
        """Import the app.

        Args:
            progress: Told what begins.

        Returns:
            None, or the members of an ERROR of kind start.
        """
        app = find_app(os.environ.get("CHARMER_WORKER_APP", ""))
        progress(f"import {app.module}")
        failure = self.runner.attempt(partial(import_app, app))
        if failure is None and not REGISTRY.commands:
            advice = "write `from charmer import command` in it, and @command above each function to serve"
            failure = StartError(f"{app.path or app.module} registers no command: {advice}")
        return None if failure is None else self.start_failure("import app", failure)

    def start_failure(self, stage: str, failure: BaseException) -> Dict[str, object]:
        """Return the members of an ERROR of kind start."""
        return start_fields(stage, failure, text_limit(self.max_frame))

    def _cut_off(self) -> None:
        self.writer.attached = False
        self.writer.forked = True
        self.calls.cut_off()
        self.output.write_through(True)
