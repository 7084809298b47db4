"""`vxp data get stamps`: find the data of a task, or fetch it into the shared cache.

Looked for in this order: the folder that $VXP_STAMPS names, the installed package, the cache. What is not found is
fetched as a Debian package: apt says where it is and its digest, the download goes on where it was stopped, the
package is checked by SHA-256, unpacked beside the cache and renamed into it, all under a lock. No root is needed and
nothing is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import vxp_schemas

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.datasets import stamps
from vxp.datasets._images import digests

NAMES = ("stamps",)
BLOCK = 1 << 20
DESCRIPTION = re.compile(r"^'(?P<uri>[^']+)' (?P<name>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$", re.M)
"""A line of `apt-get --print-uris download`."""


@dataclass(frozen=True)
class Package:
    """A Debian package file as apt describes it: where it is, how long, and its SHA-256."""

    uri: str
    name: str
    size: int
    sha256: str


def get(name: str, *, cache: Path | None = None, stream: TextIO = sys.stderr) -> Path:
    """The folder of the data; fetched into the cache where no copy is found. VxpError says exactly what to do."""
    if name not in NAMES:
        raise VxpError(f"no data is called {name!r}{nearest(name, NAMES)}; expected one of {', '.join(NAMES)}. Photos "
                       "come with the packages of vxp[demo], and ImageNet is the user's own copy (--data DIR)")
    folder = cache or stamps.cache_folder()
    here = stamps.located(folder)
    if here is None and os.environ.get(stamps.VARIABLE):
        raise VxpError(f"{stamps.VARIABLE}: {stamps.missing()}; or unset it")
    if here is not None:
        verify(here)
        return here
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, stream):
        # another process may have fetched it while this one waited
        if not stamps.holds_stamps(stamps.unpacked(folder)):
            _fetch(folder, stream)
    return stamps.unpacked(folder)


def verify(folder: Path) -> None:
    """VxpError where a stamp's bytes are not those that the data set's document names."""
    listed = digests("stamps")
    expected = {f"{stamp}.png": listed[f"{stamps.INSIDE.as_posix()}/{stamp}.png"] for stamp in stamps.mapping()}
    other = [path for path, digest in expected.items() if vxp_schemas.file_digest(folder / path) != digest]
    if other:
        raise VxpError(f"{folder}: {len(other)} of {len(expected)} stamps differ from those of the data set's "
                       f"document, first {', '.join(other[:3])}: another version of {stamps.PACKAGE} or a damaged "
                       f"copy; point {stamps.VARIABLE} at the folder {stamps.INSIDE} of the version that it names")


@contextmanager
def _locked(folder: Path, stream: TextIO) -> Iterator[None]:
    """One process at a time; the system drops the lock of a process that is killed."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.write(f"another process fetches into {folder}; waiting for it\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path, stream: TextIO) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise VxpError(f"{tool} is not on this machine, so the stamps cannot be fetched: {_by_hand()}")
    package = described()
    stream.write(f"fetching {package.name} ({package.size / 1e6:.0f} MB) into {folder}\n")
    file = downloaded(package, folder, stream)
    _unpack(file, folder)
    file.unlink()


def described() -> Package:
    """What apt knows of the package. VxpError with apt's words where it knows nothing."""
    done = _run(["apt-get", "--print-uris", "download", stamps.PACKAGE])
    found = DESCRIPTION.search(done.stdout)
    if done.returncode or found is None:
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise VxpError(f"apt does not know the package {stamps.PACKAGE} (it says: {said}): run `apt-get update` as "
                       f"root first; on Debian it is in main, on Ubuntu in universe. Otherwise: {_by_hand()}")
    return Package(found["uri"], found["name"], int(found["size"]), found["sha256"])


def downloaded(package: Package, folder: Path, stream: TextIO) -> Path:
    """The package's file, whole and checked; a part that an earlier call left is continued."""
    part = folder / f"{package.sha256[:16]}.part"
    for old in folder.glob("*.part"):
        if old != part:
            old.unlink()
    if package.uri.startswith(("http://", "https://")):
        try:
            _continue(package, part)
        except (urllib.error.URLError, OSError) as error:
            stream.write(f"{package.uri}: {error}; asking apt for it\n")
    if not part.exists() or part.stat().st_size != package.size:
        _by_apt(package, part)
    with part.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != package.sha256:
        part.unlink()
        raise VxpError(f"{package.uri}: SHA-256 {got}, expected {package.sha256} as apt's lists say: the part is "
                       "removed, run the same command again (after `apt-get update` if this stays)")
    return part


def _continue(package: Package, part: Path) -> None:
    """Append to the part what it lacks; where the server sends the whole file, write it anew."""
    have = part.stat().st_size if part.exists() else 0
    if have == package.size:
        return
    if have > package.size:
        have = 0
    request = urllib.request.Request(package.uri, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        mode = "ab" if answer.status == 206 else "wb"
        with part.open(mode) as file:
            shutil.copyfileobj(answer, file, BLOCK)


def _by_apt(package: Package, part: Path) -> None:
    """Let apt itself download, which knows its proxies, mirrors and passwords; it starts from the beginning."""
    with tempfile.TemporaryDirectory(dir=part.parent, prefix=".apt-") as temporary:
        done = _run(["apt-get", "--quiet", "download", stamps.PACKAGE], folder=Path(temporary))
        files = list(Path(temporary).glob("*.deb"))
        if done.returncode or not files:
            raise VxpError(f"apt could not download {package.name} (it says: {done.stderr.strip()}): run the same "
                           f"command again when the network is there. Otherwise: {_by_hand()}")
        files[0].replace(part)


def _unpack(file: Path, folder: Path) -> None:
    """Unpack beside the cache and rename: the cache holds all stamps or none."""
    for stale in folder.glob(".unpack-*"):
        shutil.rmtree(stale)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack-"))
    try:
        done = _run(["dpkg-deb", "-x", str(file), str(temporary)])
        if done.returncode:
            raise VxpError(f"{file}: dpkg-deb cannot unpack it (it says: {done.stderr.strip()}): make room in {folder} "
                           "(223 MB) and run the same command again")
        verify(temporary / stamps.INSIDE)
        # mkdtemp lets only the owner in
        temporary.chmod(0o755)
        if (folder / "unpacked").exists():
            shutil.rmtree(folder / "unpacked")
        temporary.rename(folder / "unpacked")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, text=True, capture_output=True,
                          check=False)


def _by_hand() -> str:
    return (f"fetch the Debian package {stamps.PACKAGE} (2022.06.04-1) on another machine, unpack it with "
            f"`dpkg-deb -x FILE.deb DIR` (or `ar x` and `tar`), and set {stamps.VARIABLE}=DIR/{stamps.INSIDE}")
