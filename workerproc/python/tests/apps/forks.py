"""Commands that fork, hang and crash."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import time
from typing import List

from charmer import command


def square(n: int) -> int:
    print(f"squaring {n}")
    return n * n


@command
def fork_and_return() -> str:
    """Return twice: once in the parent and once in the child."""
    pid = os.fork()
    if pid == 0:
        print("the child prints")
        return "child"
    _, status = os.waitpid(pid, 0)
    return f"parent, child ended with {os.WEXITSTATUS(status)}"


@command
def fork_and_raise(what: str) -> str:
    pid = os.fork()
    if pid == 0:
        if what == "exit":
            sys.exit(7)
        raise ValueError("raised in the child")
    _, status = os.waitpid(pid, 0)
    return f"parent, child ended with {os.WEXITSTATUS(status)}"


@command
def fork_mid_line() -> int:
    print("begun", end="")
    pid = os.fork()
    if pid == 0:
        print(" and ended by the child")
        os._exit(0)
    os.waitpid(pid, 0)
    print(" and ended by the parent")
    return 0


@command
def fork_looks() -> str:
    """Say what a forked child holds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        links: List[str] = []
        for name in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{name}"))
            except FileNotFoundError:  # that of the directory which is listed
                pass
        os.write(writing, " ".join(links).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    held = os.read(reading, 65536).decode()
    os.close(reading)
    return held


@command
def fork_twice() -> int:
    """Fork a child that takes descriptors of its own and forks again; return how many the grandchild has lost."""
    pid = os.fork()
    if pid == 0:
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        if os.fork() == 0:
            lost = [fd for fd in taken if not os.path.exists(f"/proc/self/fd/{fd}")]
            os._exit(len(lost))
        os._exit(os.WEXITSTATUS(os.wait()[1]))
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])


@command
def close_descriptor(fd: int) -> None:
    os.close(fd)


@command
def pool_of(method: str) -> List[int]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


@command
def fork_sleeper() -> int:
    """Fork a child that outlives the call, and return its process id."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid


@command
def hang_in_python() -> None:
    time.sleep(600)


@command
def hang_in_c() -> None:
    """Wait in C with the lock of the interpreter held, for a mutex that this thread has: no signal ends that wait."""
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


@command
def segfault() -> None:
    os.close(2)
    ctypes.string_at(0)
