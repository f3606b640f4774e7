"""Cancelling a call: what is raised in it, and what keeps that out for a while. Source: docs/protocol.md, section 9."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Final, Optional, Set, Type

if TYPE_CHECKING:
    from ._stream import Outlet

_FINALISER: Final = "__del__"


class Cancelled(BaseException):
    """Raised in a call that is to end: its caller has left or asked for it, or its time is over.

    Let it pass, after cleaning up: it is no Exception, so that `except Exception` does. In an `async def` command it is
    asyncio.CancelledError that comes, as for any task; in one that runs just then, or holds up the loop, it is both.
    """


class NotStarted(Cancelled):
    """The call was cancelled before it began. Never seen by the app."""


Cancelled.__module__ = "charmer"


class Scope:
    """What a cancel of one call meets.

    Attributes:
        call_id: Id of the call; in that of the main thread, of the last call that has begun.
        shields: How many shields are open; while there are any nothing is raised.
        outlet: Where its items go while it streams.
    """

    __slots__ = ("call_id", "outlet", "shields")

    in_main = True
    """Whether its code runs in the main thread, where the handler of the signal can raise."""

    def __init__(self, call_id: int) -> None:
        self.call_id = call_id
        self.shields = 0
        self.outlet: Optional[Outlet] = None

    def throw(self, frame: Optional[FrameType]) -> Optional[Type[Cancelled]]:
        """End the call, which has been asked for, unless that was done, or a shield is open. In the main thread.

        Args:
            frame: Where the main thread is, in the handler of the signal; None if it is in this runtime.

        Returns:
            What the caller is to raise right here, None for nothing.
        """
        raise NotImplementedError

    def was_thrown(self) -> bool:
        """Tell whether the call has been ended, or is about to be."""
        raise NotImplementedError

    def enter(self) -> None:
        """Open a shield, in the code of the call."""
        self.shields += 1

    def leave(self) -> None:
        """Close a shield, in the code of the call; raises what it kept out."""
        raise NotImplementedError


class MainScope(Scope):
    """That of calls which run alone in the main thread, one after another. Made once, for it is on the path of each.

    Attributes:
        armed: Id of the call whose code runs, 0 if none does or if it has been told: then nothing is raised.
        thrown: Id of the last call that Cancelled was raised in.
        waiting: Set while packets are waited for: the handler then leaves them to who waits.
    """

    __slots__ = ("_asked", "armed", "thrown", "waiting")

    def __init__(self, asked: Set[int]) -> None:
        """Args: asked: Ids of the calls that are to end, shared with Calls."""
        super().__init__(0)
        self._asked = asked
        self.armed = 0
        self.thrown = 0
        self.waiting = False

    def throw(self, frame: Optional[FrameType]) -> Optional[Type[Cancelled]]:
        armed = self.armed  # once: another signal may come in between
        if self.shields or not armed or armed not in self._asked:
            return None
        self.thrown, self.armed = armed, 0
        return Cancelled

    def was_thrown(self) -> bool:
        return self.thrown == self.call_id

    def leave(self) -> None:
        if self.shields:
            self.shields -= 1
        if self._asked and not in_finaliser(sys._getframe()) and self.throw(None):
            raise Cancelled


def in_finaliser(frame: Optional[FrameType]) -> bool:
    """Tell whether a finaliser runs, which would swallow whatever is raised."""
    while frame is not None:
        if frame.f_code.co_name == _FINALISER:
            return True
        frame = frame.f_back
    return False
