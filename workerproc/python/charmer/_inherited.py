"""What the app's import opened, which every worker forked from the zygote would share."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from struct import unpack
from typing import Callable, Final, List, Sequence

_STANDARD: Final = 3


class Inherited:
    """Parts a worker from the others, which were forked from the same zygote.

    A file that is open for reading alone gets a description of its own, at the same place, so that workers do not move
    each other's place in it. A socket becomes one whose other end has gone: a connection cannot be shared, and its
    owner learns at the first use that it has to connect anew. The rest stays shared, as between any forked processes.
    """

    def __init__(self) -> None:
        self._files: List[int] = []
        self._sockets: List[int] = []
        self._dead = -1  # a socket whose peer is closed

    def look(self, ours: Sequence[int]) -> None:
        """Note what is open besides the standard streams and the descriptors in ours."""
        known = {*range(_STANDARD), *ours}
        for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
            if fd in known:
                continue
            try:
                mode = os.fstat(fd).st_mode
                flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            except OSError:  # that of the directory which was listed
                continue
            if stat.S_ISREG(mode) and flags & os.O_ACCMODE == os.O_RDONLY:
                self._files.append(fd)
            elif stat.S_ISSOCK(mode):
                self._sockets.append(fd)
        if self._sockets:
            dead, gone = socket.socketpair()
            gone.close()
            self._dead = dead.detach()

    def part(self) -> None:
        """Part this worker from the others."""
        for fd in self._files:
            try:
                own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # it may be read no more, except through what is open
                continue
            os.lseek(own, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(own, fd, inheritable=os.get_inheritable(fd))
            os.close(own)
        for fd in self._sockets:
            os.dup2(self._dead, fd, inheritable=os.get_inheritable(fd))
        if self._dead >= 0:
            os.close(self._dead)


def own_state() -> None:
    """Give this worker random numbers of its own: the others continue from the same state. The random module does so itself."""
    seed: Callable[..., object] = getattr(sys.modules.get("numpy.random"), "seed", _nothing)
    seed(unpack("8I", os.urandom(32)))  # by itself it would look for as much, and take ten times as long
    seed = getattr(sys.modules.get("torch"), "seed", _nothing)
    seed()


def _nothing(*_: object) -> None:
    pass
