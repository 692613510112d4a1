"""Confined: runs one program in its folder with limits, and says on its output what came of it. A script of its own, run with `python -I`: nothing of
omnitune is imported here.

`python -I confined.py FOLDER SECONDS BYTES PROCESSES` runs FOLDER/program.py. What it says is `passed`, the name of an exception, or which limit was
reached.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator

RULESET, ADD_RULE, RESTRICT = 444, 445, 446
"""Numbers of the system calls of Landlock, on every processor (https://docs.kernel.org/userspace-api/landlock.html)."""
WRITES = {1: 0b1111111110010, 2: 0b11111111110010, 3: 0b111111111110010}
"""The bits of what writes, removes, makes, moves or cuts files, by version of Landlock; later ones know no more of that kind."""
READS = 0b1100
READABLE = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev", "/opt", sys.prefix, sys.base_prefix)
"""Folders of the system and of Python."""
DEVICE = 1 << 1 | 1 << 14
LARGEST_FILE = 1 << 24
OPEN_FILES = 64
SUBREAPER, NO_NEW_RIGHTS = 36, 38
PAUSE = 0.005
libc = ctypes.CDLL(None, use_errno=True)


def main(folder: str, seconds: float, memory: int, most: int) -> str:
    """What came of the program; nothing that it started is left."""
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    read, write = os.pipe()
    if not (child := os.fork()):
        os.close(read)
        _run(folder, seconds, memory, most, write)
    os.close(write)
    stop, came = time.monotonic() + seconds, ""
    while not came and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(PAUSE)
        came = "time" if time.monotonic() > stop else "processes" if sum(1 for _ in _others()) > most else ""
    _end()
    os.set_blocking(read, False)
    try:
        return came or os.read(read, 100).decode(errors="replace") or "killed"
    except BlockingIOError:
        return "killed"


def _end() -> None:
    """Kills all that is left."""
    while left := [-1] if os.getpid() == 1 else list(_others()):  # the first process of a space of its own has all others under it
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _run(folder: str, seconds: float, memory: int, most: int, write: int) -> None:
    """Runs the program, writes what came of it, and ends the process."""
    came, mine = "", os.getpid()
    try:
        with open(os.path.join(folder, "program.py"), encoding="utf-8") as file:
            source = file.read()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.chdir(folder)
        keep_to(folder)
        for what, limit in (
            (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, int(seconds) + 1), (resource.RLIMIT_FSIZE, LARGEST_FILE),
            (resource.RLIMIT_NOFILE, OPEN_FILES), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, most + running()),
        ):  # fmt: skip
            resource.setrlimit(what, (limit, limit))
        exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
        came = "passed"
    except BaseException as error:
        came = type(error).__name__
    finally:
        if os.getpid() == mine:  # a copy of this process may come here too
            os.write(write, came.encode())
        os._exit(0)


def keep_to(folder: str) -> bool:
    """Forbids this process and those that it starts to write elsewhere, or to read elsewhere than in `READABLE`; says whether the kernel can."""
    version = int(libc.syscall(RULESET, None, 0, 1))
    if version < 1:
        return False
    rights = WRITES[min(version, max(WRITES))]
    ruleset = int(libc.syscall(RULESET, ctypes.byref(ctypes.c_uint64(rights | READS)), 8, 0))
    readable = [(place, READS) for place in READABLE if os.path.isdir(place)]
    for place, some in [(folder, rights | READS), (os.devnull, rights & DEVICE), *readable]:
        where = os.open(place, os.O_PATH)
        rule = some.to_bytes(8, sys.byteorder) + where.to_bytes(4, sys.byteorder)
        libc.syscall(ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
        os.close(where)
    libc.prctl(NO_NEW_RIGHTS, 1, 0, 0, 0)
    done = int(libc.syscall(RESTRICT, ruleset, 0)) == 0
    os.close(ruleset)
    return done


def running() -> int:
    """Threads of this user that can be seen, which the system counts beside those that are started."""
    found, user = 0, os.getuid()
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            found += len(os.listdir(f"/proc/{number}/task")) if os.stat(f"/proc/{number}").st_uid == user else 0
    return found


def _others() -> Iterator[int]:
    """The processes that this one started, and those that these did."""
    waiting = [os.getpid()]
    while waiting:
        for child in _children(waiting.pop()):
            waiting.append(child)
            yield child


def _children(number: int) -> list[int]:
    try:
        found = []
        for thread in os.listdir(f"/proc/{number}/task"):
            with open(f"/proc/{number}/task/{thread}/children", encoding="ascii") as file:
                found += file.read().split()
    except OSError:
        return []
    return [int(child) for child in found]


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])), flush=True)
