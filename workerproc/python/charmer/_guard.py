"""What keeps a worker from outliving charmer, from dying without a word, and from being served by its own forks.

Source: docs/protocol.md, sections 1 and 6.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import select
import signal
import sys
from dataclasses import dataclass
from typing import Any, Callable, Final, List, NoReturn, Optional, Sequence

FRAMES_IN: Final = 3
FRAMES_OUT: Final = 4
CONTROL: Final = 5
LIFELINE: Final = 6
STACK: Final = 7

EXIT_BROKEN: Final = 70
"""Exit code of a worker whose frame stream is out of step, or gone. Source: EX_SOFTWARE of sysexits.h."""

_FIRST_PRIVATE: Final = 10  # descriptors below belong to the protocol
_close: Final = os.close
_disable: Final = faulthandler.disable
_exit: Final = os._exit
_unregister: Final = faulthandler.unregister
_write: Final = os.write
_OOM_SCORE: Final = 300
_PR_SET_CHILD_SUBREAPER: Final = 36


def _find_prctl() -> Any:
    try:
        import ctypes

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):  # there is none here
        return None


_prctl: Final = _find_prctl()


def arm_lifeline() -> None:
    """Have the kernel kill this process group when charmer dies, however stuck this process is then.

    Owner and signal belong to the open file description, and that of descriptor 6 is inherited: hence one of our own in
    its place, where programs that close "all" descriptors from some number on least often come. Does nothing where there
    is no lifeline, or no such system.
    """
    set_signal = getattr(fcntl, "F_SETSIG", None)
    if set_signal is None:
        return
    try:
        own = os.open(f"/proc/self/fd/{LIFELINE}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.dup2(own, LIFELINE, inheritable=False)
        os.close(own)
        pid = os.getpid()
        fcntl.fcntl(LIFELINE, fcntl.F_SETOWN, -pid if os.getpgrp() == pid else pid)
        fcntl.fcntl(LIFELINE, set_signal, signal.SIGKILL)
        fcntl.fcntl(LIFELINE, fcntl.F_SETFL, fcntl.fcntl(LIFELINE, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        return
    poll = select.poll()
    poll.register(LIFELINE, 0)
    if poll.poll(0):  # charmer died before this was armed
        os._exit(EXIT_BROKEN)


def keep_private(fds: Sequence[int]) -> None:
    """Make descriptors close-on-exec, so that programs which the app starts do not hold them."""
    for fd in fds:
        try:
            os.set_inheritable(fd, False)
        except OSError:
            pass


def is_open(fd: int) -> bool:
    """Tell whether fd is an open descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class LastWords:
    """Where this process complains when it breaks: a copy of descriptor 2, which the app cannot close by mistake."""

    __slots__ = ("fd",)

    fd: Optional[int]

    def die(self, message: str) -> NoReturn:
        """Write a line and end the process at once."""
        if self.fd is not None:
            try:
                _write(self.fd, f"charmer worker: {message}\n".encode("utf-8", "backslashreplace"))
            except OSError:
                pass
        _exit(EXIT_BROKEN)


def last_words() -> LastWords:
    """Copy descriptor 2, and have the interpreter write the stacks there if it crashes."""
    try:
        fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE)
    except OSError:
        return LastWords(None)
    faulthandler.enable(file=fd, all_threads=True)
    return LastWords(fd)


def register_stack_dump() -> Optional[int]:
    """Have a signal write the stacks of all threads to descriptor 7, without help of the interpreter.

    At the end of the interpreter, when nobody answers any more, the signal is ignored, for it would end the process else.

    Returns:
        The signal's number, or None where that cannot be had.
    """
    if not is_open(STACK):
        return None
    first = getattr(signal, "SIGRTMIN", None)
    number = int(signal.SIGUSR2 if first is None else first + 5)
    try:
        signal.signal(number, signal.SIG_IGN)  # what the interpreter goes back to
        faulthandler.register(number, file=STACK, all_threads=True, chain=False)
    except (OSError, ValueError, RuntimeError):
        return None
    return number


def cancel_signal() -> Optional[int]:
    """Return the number of the signal that comes with a packet on the control socket; None where there is none to spare."""
    first = getattr(signal, "SIGRTMIN", None)
    return None if first is None else int(first + 6)


class ForkGuard:
    """Cuts off a child that the app forks: it must neither read nor write frames, nor hold what tells of a death.

    Attributes:
        owned: Descriptors that such a child closes.
        passing: Set while the zygote forks a worker, which is no child of the app's.
    """

    def __init__(self, owned: List[int], stack_signal: Optional[int], cut_off: Callable[[], None]) -> None:
        """Guard all forks from now on.

        Args:
            owned: See the class.
            stack_signal: As register_stack_dump returned it.
            cut_off: Run in the child as well; it must take no lock.
        """
        self.owned = owned
        self.passing = False
        self._stack_signal = stack_signal
        self._cut_off = cut_off
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        if self.passing or not self.owned:  # empty in a child of a child, where these numbers are free for the app
            return
        self._cut_off()
        if self._stack_signal is not None:
            _unregister(self._stack_signal)
        _disable()
        while self.owned:
            try:
                _close(self.owned.pop())
            except OSError:
                pass


def raise_oom_score() -> None:
    """Have the kernel, when it runs out of memory, kill this worker before the service."""
    try:
        score = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # there is none here
        return
    try:
        worse = min(1000, int(os.pread(score, 16, 0)) + _OOM_SCORE)
        _write(score, b"%d" % worse)
    except (OSError, ValueError):  # it may not be raised here
        pass
    finally:
        _close(score)


def give_way() -> None:
    """Have this worker, when something wakes it, wait until who has the processor gives it up, rather than take it.

    Who wakes it is the service, with a call, and has others to hand on and answers to pass on in the same turn. The
    share of the processors stays the same. Threads and children inherit it. Nothing changes if the policy is not the
    default one, or the system not Linux.
    """
    if sys.platform != "linux":
        return
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # it may not be changed here
        pass


def become_subreaper() -> None:
    """Have what descends from this process stay below it when its parent ends, so that it can be found and ended.

    Where that cannot be had, such a process falls to the next subreaper, or to init.
    """
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
