"""What a program that nobody has read can and cannot do."""

import os
import sys
import time
from pathlib import Path

import pytest

from omnitune.evaluation.sandbox import Limits, isolated, run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs are confined on Linux only")
SHORT = Limits(seconds=1.0, megabytes=256, processes=16)
LONG = Limits(seconds=30.0, megabytes=256, processes=16)


@pytest.mark.parametrize(
    ("program", "came"),
    [
        ("assert 1 + 1 == 2", "passed"),
        ("def f(x): return x\nassert f(1) == 2", "AssertionError"),
        ("x = (", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "killed"),
        ("import os\nif not os.fork(): pass\nelse: os.wait(); assert False", "AssertionError"),
        ("input()", "EOFError"),
        ("import numpy, threading; t = threading.Thread(target=print); t.start(); t.join()", "passed"),
        ("open('here.txt', 'w').write('x'); assert open('here.txt').read() == 'x'; open('/dev/null', 'w').write('y')", "passed"),
        ("x = 'a' * (1 << 30)", "MemoryError"),
        ("open('large', 'wb').write(bytes(1 << 25))", "OSError"),
        ("import os; assert set(os.environ) <= {'PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_CTYPE'}, os.environ", "passed"),
        ("print('ü' * 1_000_000)", "passed"),
    ],
)
def test_what_comes_of_a_program(program: str, came: str) -> None:
    limits = Limits(30.0, 1024, 16) if "numpy" in program else LONG
    assert run(program, limits) == came


@pytest.mark.parametrize(
    "program", ["while True: pass", "import time; time.sleep(99)", "import signal, time\nsignal.signal(15, lambda *_: 0)\ntime.sleep(99)"]
)
def test_what_does_not_end_is_ended(program: str) -> None:
    start = time.monotonic()
    assert run(program, SHORT) == "time"
    assert time.monotonic() - start < 60


@pytest.mark.skipif(os.getuid() == 0 and not isolated().others, reason="nothing limits how many processes root starts")
def test_too_many_processes_are_stopped() -> None:
    """256 of them and no more: what forks without end would leave no thread for other tests until it is ended."""
    assert run("import os, time\nfor _ in range(8): os.fork()\ntime.sleep(99)", LONG) in ("processes", "BlockingIOError")


def test_nothing_that_it_started_is_left(tmp_path: Path) -> None:
    mark = f"sleep {3000 + os.getpid() % 1000}.25"
    program = f"import subprocess\nfor _ in range(3): subprocess.Popen({mark.split()!r}, start_new_session=True)"
    assert run(program, LONG) == "passed"
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if _read(one) == mark]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def test_it_writes_nowhere_else(tmp_path: Path) -> None:
    if not isolated().files:
        pytest.skip("this kernel has no Landlock")
    there = tmp_path / "there.txt"
    there.write_text("as it was")
    for program in (f"open({str(there)!r}, 'w')", f"import os; os.remove({str(there)!r})", f"import os; os.mkdir({str(tmp_path / 'new')!r})"):
        assert run(program, LONG) == "PermissionError"
    assert there.read_text() == "as it was" and list(tmp_path.iterdir()) == [there]


def test_it_reads_only_what_is_of_the_system_and_of_python(tmp_path: Path) -> None:
    if not isolated().files:
        pytest.skip("this kernel has no Landlock")
    (tmp_path / "secret.txt").write_text("secret")
    assert run(f"open({str(tmp_path / 'secret.txt')!r}).read()", LONG) == "PermissionError"
    assert run(f"import os; os.listdir({str(tmp_path)!r})", LONG) == "PermissionError"
    assert run("import json, sqlite3, zoneinfo; open('/etc/passwd').read(); open('program.py').read()", LONG) == "passed"


def test_it_reaches_no_network() -> None:
    import socket

    if not isolated().network:
        pytest.skip("this machine lends no network of its own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        assert run(f"import socket; socket.create_connection({place!r}, 5)", LONG) == "OSError"
        socket.create_connection(place, 5).close()


def test_where_the_kernel_lends_no_spaces_the_limits_still_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune.evaluation import sandbox

    monkeypatch.setattr(sandbox, "_spaces", tuple)
    mark = f"sleep {4000 + os.getpid() % 1000}.25"
    started = f"import subprocess\nfor _ in range(3): subprocess.Popen({mark.split()!r}, start_new_session=True)\n"
    assert run(f"{started}assert False", LONG) == "AssertionError"
    assert run(f"{started}while True: pass", SHORT) == "time"
    assert run(f"{started * 9}import time; time.sleep(99)", LONG) in ("processes", "BlockingIOError")
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if _read(one) == mark]
    monkeypatch.setattr(sandbox, "isolated", sandbox.isolated.__wrapped__)
    assert sandbox.isolated().network is sandbox.isolated().others is False


def test_what_runs_already_is_not_counted_against_a_program() -> None:
    import threading

    from omnitune.evaluation.confined import running

    stop = threading.Event()
    before, threads = running(), [threading.Thread(target=stop.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        assert running() >= before + 10, "others may end meanwhile"
    finally:
        stop.set()
