"""Sandbox: a program that nobody has read runs in a process of its own, with limits, in a folder of its own, and nothing of it is left.

What always holds, on Linux: seconds, memory, processes and the size of files are limited, the environment is empty, standard input is closed, and all
that the program started is killed. What holds where the kernel allows it, and `isolated` tells: no network, no sight of other processes, and no
files but those of its folder, and to read those of the system and of Python.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from omnitune.errors import Mistake

SCRIPT = Path(__file__).with_name("confined.py")
SPACES = ("unshare", "--user", "--map-root-user", "--net", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
GRACE = 10
"""Seconds after which a process that should have ended by itself is killed."""
PASSED = "passed"


@dataclass(frozen=True)
class Limits:
    """Of one program.

    Args:
        seconds: of the clock.
        megabytes: of memory that each of its processes may ask for.
        processes: that it may start.
    """

    seconds: float = 10.0
    megabytes: int = 1024
    processes: int = 32


@dataclass(frozen=True)
class Isolation:
    """What programs are kept from on this machine.

    Args:
        network: any of it.
        others: to see or stop processes that are not theirs.
        files: to write outside their folder, or to read elsewhere than in the folders of the system and of Python.
    """

    network: bool
    others: bool
    files: bool


def run(program: str, limits: Limits) -> str:
    """What came of a Python program: `passed` where it ran to its end, else the name of the exception, `time`, `processes`, or `killed` where it
    ended otherwise: by itself, by a fault, or by the system.

    Raises:
        Mistake: this system has no limits for processes.
    """
    if not sys.platform.startswith("linux"):
        raise Mistake("sandbox", f"programs are not confined on {sys.platform}", "Run this on Linux, such as in a container")
    with tempfile.TemporaryDirectory(prefix="omnitune-", ignore_cleanup_errors=True) as folder:
        Path(folder, "program.py").write_text(program, encoding="utf-8", errors="surrogatepass")
        asked = [folder, str(limits.seconds), str(limits.megabytes << 20), str(limits.processes)]
        return _told([*_spaces(), sys.executable, "-I", "-B", str(SCRIPT), *asked], folder, limits.seconds + GRACE)


def _told(command: list[str], folder: str, seconds: float) -> str:
    """The first line of what a command says."""
    clean = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean, cwd=folder, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            said = b"time"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return said.decode().strip() or "killed"


@cache
def isolated() -> Isolation:
    """What holds on this machine, tried with a program."""
    spaces = bool(_spaces())
    return Isolation(network=spaces, others=spaces, files=_keeps_files())


@cache
def _spaces() -> tuple[str, ...]:
    """What to put before a command so that it has a network and processes of its own; nothing where that is not allowed."""
    there = shutil.which("unshare") is not None and subprocess.run([*SPACES, "true"], capture_output=True).returncode == 0
    return SPACES if there else ()


def _keeps_files() -> bool:
    with tempfile.TemporaryDirectory() as outside:
        run(f"open({str(Path(outside, 'there'))!r}, 'w')", Limits())
        return not Path(outside, "there").exists()
