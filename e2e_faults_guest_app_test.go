package main

// guests is an app of commands that do what a guest should not do.
const guests = meeting + `
import builtins, ctypes, gc, io, json, logging, multiprocessing, random, resource, signal, struct, subprocess, tempfile
import threading, traceback, warnings

libc = ctypes.CDLL(None)
STUBBORN = "trap '' TERM INT HUP QUIT; while :; do sleep 1; done"

# What lives on.

@command
def fails(text: str) -> None:
    raise ValueError(text)

@command
def prints() -> str:
    print("on stdout")
    print("on stderr", file=sys.stderr)
    sys.stdout.write("x" * 100_000 + "\n")
    sys.stdout.buffer.write(b"bytes \xff\n")
    print("a line without end", end="")
    return "printed"

@command
def writes_to_descriptor_1() -> str:
    os.write(1, b"from os.write\n")
    libc.write(1, b"from C\n", 7)
    libc.puts(b"from stdio")
    libc.fflush(None)
    subprocess.run(["echo", "from a child"], check=True)
    subprocess.run(["sh", "-c", "(echo from a grandchild >&2) & wait"], check=True)
    return "written"

@command
def floods() -> str:
    flood = b"y" * 1_000_000
    for _ in range(10):
        rest = flood
        while rest:
            rest = rest[os.write(2, rest):]
    os.write(2, b"\nafter the flood of descriptor 2\n")
    sys.stderr.write("z" * 10_000_000)
    sys.stderr.write("\nafter the flood of sys.stderr\n")
    return "flooded"

@command
def closes_descriptors() -> str:
    os.closerange(0, 3)
    return "closed"

@command
def sets_streams(to: str) -> str:
    if to == "none":
        sys.stdout = sys.stderr = None
    elif to == "deleted":
        del sys.stdout, sys.stderr
    elif to == "closed":
        sys.stdout.close()
        sys.stderr.close()
    else:
        sys.stdout = sys.stderr = io.StringIO()
    return "set"

@command
def recurses(how: str) -> object:
    class Mirror:
        def __repr__(self):
            return repr(self)
    def fall(n):
        return fall(n + 1) + 1
    if how == "python":
        return fall(0)
    if how == "repr":
        return repr(Mirror())
    if how == "str of the exception":
        raise ValueError(Mirror())
    if how == "json":
        return json.dumps(Mirror(), default=lambda o: [Mirror()])
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep

@command
def leaves_a_grandchild() -> int:
    return subprocess.Popen(["sh", "-c", STUBBORN], pass_fds=(3, 4, 6, 7)).pid

@command
def forks_and_returns_twice() -> str:
    return "the child" if os.fork() == 0 else "the parent"

@command
def forks_and_raises() -> str:
    if os.fork() == 0:
        raise ValueError("in the child")
    return "the parent"

@command
def installs_handlers() -> str:
    def handle(number, frame):
        print(f"signal {number}")
    signals = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM
    for number in signals:
        signal.signal(number, handle)
        os.kill(os.getpid(), number)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.002)
    return "installed"

@command
def starts_threads() -> str:
    def chatter():
        while True:
            print("a thread talks")
            time.sleep(0.01)
    threading.Thread(target=chatter, daemon=True).start()
    threading.Thread(target=chatter).start()
    return "started"

@command
def changes_directory() -> str:
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)
    return "changed"

@command
def echoes(value: object) -> object:
    return value

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

class Rude(BaseException):
    pass

@command
def raises(what: str) -> None:
    errors = {
        "KeyboardInterrupt": KeyboardInterrupt(), "GeneratorExit": GeneratorExit(), "Rude": Rude("rude"), "Mute": Mute(),
        "StopIteration": StopIteration(1), "MemoryError": MemoryError(), "surrogate": ValueError("\ud800"), "long": ValueError("x" * 3_000_000),
    }
    error = errors[what]
    error.__cause__ = error
    raise error

@command
def returns(what: str) -> object:
    cycle = {"in": []}
    cycle["in"].append(cycle)
    return {
        "rows": [0, {
            "nan": float("nan"), "infinity": float("-inf"), "complex": 1j, "cycle": cycle, "object": object(), "surrogate": "a\ud800",
            "digits": 10**5000, "bytes": b"x", "module": os, "generator": (n for n in ()), "key": {(1, 2): 3},
        }[what]],
    }

def broken(*args, **kwargs):
    raise RuntimeError("broken by the app")

@command
def breaks(what: str) -> str:
    """Put functions out of order that the runtime may want to use."""
    if what == "json":
        for name in ("dump", "dumps", "load", "loads", "JSONEncoder", "JSONDecoder"):
            setattr(json, name, broken)
        for owner in (json.encoder, json.decoder, json.scanner):
            for name in list(vars(owner)):
                if not name.startswith("__") and callable(getattr(owner, name)):
                    setattr(owner, name, broken)
    elif what == "the encoder":
        json.JSONEncoder.default = json.JSONEncoder.encode = json.JSONEncoder.iterencode = broken
        json.JSONDecoder.decode = json.JSONDecoder.raw_decode = broken
    elif what == "os":
        for name in ("read", "readv", "write", "writev", "close", "fstat", "getpid", "_exit", "set_blocking", "open", "dup"):
            setattr(os, name, broken)
    elif what == "time":
        for name in ("time", "monotonic", "perf_counter", "sleep"):
            setattr(time, name, broken)
    elif what == "threading":
        for name in ("RLock", "Lock", "Thread", "current_thread", "main_thread", "_shutdown"):
            setattr(threading, name, broken)
    elif what == "logging":
        logging.getLogger().handlers.clear()
        logging.Handler.emit = logging.Logger.handle = logging.shutdown = broken
        warnings.showwarning = broken
    elif what == "traceback":
        for name in ("format_exception", "format_tb", "TracebackException", "StackSummary"):
            setattr(traceback, name, broken)
    elif what == "modules":
        sys.modules.clear()
    elif what == "collector":
        gc.disable()
        gc.freeze()
        sys.setswitchinterval(1000)
    elif what == "recursion limit":
        for limit in range(1, 1000):
            try:
                sys.setrecursionlimit(limit)
                break
            except RecursionError:
                pass
    elif what == "hooks":
        sys.excepthook = threading.excepthook = sys.unraisablehook = broken
        sys.settrace(None)
        sys.setprofile(None)
    return "broken"

def square(n):
    return n * n

@command
def multiprocesses(method: str) -> list:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])

@command
def runs_a_program() -> str:
    return subprocess.run(["cat"], input="through a pipe", capture_output=True, text=True, check=True).stdout

@command
def runs_out_of_memory() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, hard))
    try:
        return "x" * (1 << 31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

# What does not.

@command
def ends(how: str, code: int = 0) -> str:
    print("its end is near", file=sys.stderr)
    if how == "_exit":
        os._exit(code)
    if how == "sys.exit":
        sys.exit(code)
    if how == "sys.exit with text":
        sys.exit("good bye")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "kill":
        os.kill(os.getpid(), code)
    if how == "kill the group":
        os.killpg(0, code)
    if how == "exec":
        os.execv("/bin/sh", ["sh", "-c", f"exit {code}"])
    return "alive"

@command
def closes_everything(reopen: bool) -> str:
    os.closerange(0, 256)
    for _ in range(32 if reopen else 0):
        os.open("/dev/null", os.O_RDWR)
    return "closed"

@command
def dies_and_leaves(dir: str, daemon: bool) -> None:
    child = subprocess.Popen(["sh", "-c", STUBBORN], pass_fds=(3, 4, 6, 7), start_new_session=daemon)
    come(dir, f"left {child.pid}")
    os._exit(3)

@command
def stops_itself(group: bool) -> str:
    if group:
        os.killpg(0, signal.SIGSTOP)
    else:
        os.kill(os.getpid(), signal.SIGSTOP)
    return "goes on"
`
