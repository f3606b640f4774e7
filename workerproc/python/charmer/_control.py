"""The control socket: what reaches a worker that is busy. Source: docs/protocol.md, section 9."""

from __future__ import annotations

import os
import select
import stat
from struct import Struct
from typing import Callable, Final, List

from ._guard import CONTROL

CANCEL: Final = 0x02
CREDIT: Final = 0x05

_PACKET: Final = Struct(">BII")
_ROOM: Final = 64
_read: Final = os.read
_poll: Final = select.poll


class Control:
    """Reads the packets of descriptor 5.

    Attributes:
        fd: The descriptor, -1 as long as there is none.
        ended: Whether nothing can come any more.
    """

    def __init__(self, take: Callable[[int, int, int], None]) -> None:
        """Args: take: Told kind, id and n of each packet."""
        self._take = take
        self.fd = -1
        self.ended = True

    def open(self) -> None:
        """Look whether descriptor 5 is a socket, and use it."""
        try:
            if not stat.S_ISSOCK(os.fstat(CONTROL).st_mode):
                return
            os.set_blocking(CONTROL, False)
            os.set_inheritable(CONTROL, False)
        except OSError:
            return
        self.fd = CONTROL
        self.ended = False

    def close(self) -> None:
        """Read no more: in a child that the app forked, where the descriptor is closed."""
        self.fd = -1
        self.ended = True

    def drain(self) -> None:
        """Take all packets that are there, without waiting. Also from within a signal handler that interrupts this."""
        packets: List[bytes] = []
        while not self.ended:
            try:
                packets.extend(map(_read, (self.fd,), (_ROOM,)))
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the app has closed it
                self.ended = True
                return
            packet = packets.pop()
            if len(packet) == _PACKET.size:
                self._take(*_PACKET.unpack(packet))
            elif not packet:
                self.ended = True

    def wait(self) -> None:
        """Wait until there is something to drain."""
        poll = _poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll()
