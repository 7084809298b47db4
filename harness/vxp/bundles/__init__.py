"""Bundles as they come from strangers: a folder or an uncompressed tar, read in place and never extracted.

Nothing is opened before its name, kind and size have been checked; links, devices and names that leave the bundle are
faults. Each fault has a rule of the catalogue (`vxp explain-code`).
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import vxp_schemas
from vxp_schemas import typed

from vxp.documents import store
from vxp.documents.findings import Finding, Findings
from vxp.errors import VxpError

T = TypeVar("T")
ROOT: Final = "submission.json"
MAX_TOTAL: Final = 64 * 2**30
MAX_FILES: Final = 10_000
MAX_PATH: Final = 200
BLOCK: Final = 512
"""Bytes of a block of a tar."""

PATH: Final = re.compile(r"(?!\.{1,2}(/|$))[A-Za-z0-9._-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*")
RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that a common operating system keeps for devices, whatever stands after the first dot."""


@dataclass(frozen=True)
class Entry:
    """A regular file of a bundle: bytes `start` to `start + size` of `file`, which `stamp` tells from any other."""

    path: str
    file: Path
    start: int
    size: int
    stamp: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Bundle:
    """The files of a bundle by their paths, in bytewise order. checked: the validator found no error in these very files, so
    that documents are not held against their schemas again."""

    root: Path
    entries: Mapping[str, Entry]
    checked: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.entries)

    def size(self, path: str) -> int:
        return self._entry(path).size

    def stream(self, path: str) -> BinaryIO:
        """The file as a seekable reader that ends where the file ends. The caller closes it."""
        entry = self._entry(path)
        try:
            handle = _opened(self.root, entry)
        except OSError as error:
            raise VxpError(f"{self.root}: {path} cannot be read: {error.strerror}") from None
        found = os.fstat(handle)
        # what was listed, checked or hashed before is this very file, unchanged
        if not stat.S_ISREG(found.st_mode) or found.st_size < entry.start + entry.size or _stamp(found) != entry.stamp:
            os.close(handle)
            raise VxpError(f"{self.root}: {path} changed while it was read; expected the file of {entry.size} bytes that was "
                           "there at first. Copy the bundle to a place where nobody writes, and check it there")
        return io.BufferedReader(Window(os.fdopen(handle, "rb", buffering=0), entry.start, entry.size), 1 << 20)

    def read(self, path: str, limit: int = store.MAX_JSON) -> bytes:
        """The bytes of a file of at most `limit` bytes; VxpError otherwise."""
        if self.size(path) > limit:
            raise VxpError(f"{self.root}: {path} has {self.size(path)} bytes, expected at most {limit}")
        with self.stream(path) as stream:
            return stream.read()

    def document(self, path: str, kind: type[T]) -> T:
        """A JSON document of a type of vxp_schemas.typed, by its schema; VxpError names the file and its faults."""
        if self.checked:
            known: T = json.loads(self.read(path))
            return known
        try:
            return vxp_schemas.valid(vxp_schemas.loads(self.read(path)), kind)
        except vxp_schemas.SchemaError as error:
            raise VxpError(f"{self.root}: {path}: {error}") from None

    def described(self, described: typed.Descriptor) -> bytes:
        """The bytes of a descriptor of the root or a result; VxpError where size or digest differ."""
        path, size = str(described["path"]), int(described["size"])
        data = self.read(path, min(max(size, 1), store.MAX_ARRAYS))
        if store.digest(data) != described["digest"]:
            raise VxpError(f"{self.root}: {path} has {len(data)} bytes with {store.digest(data)}, expected {size} with "
                           f"{described['digest']}: it was changed after sealing (see vxp validate)")
        return data

    @cached_property
    def submission(self) -> typed.Submission:
        return self.document(ROOT, typed.Submission)

    @cached_property
    def root_digest(self) -> str:
        """SHA-256 of submission.json's bytes, through which every other byte is bound."""
        return store.digest(self.read(ROOT))

    def _entry(self, path: str) -> Entry:
        if path not in self.entries:
            raise VxpError(f"{self.root} has no file {path!r}; it has {len(self.entries)} files, among them "
                           f"{', '.join(self.paths[:5])}")
        return self.entries[path]


class Window(io.RawIOBase):
    """A part of a file as a file of its own; closing it closes the file."""

    def __init__(self, file: io.FileIO | Any, start: int, size: int) -> None:
        self.file, self.start, self.length, self.place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise ValueError(f"a place before the file's start: {base + offset}")
        self.place = base + offset
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self.length - self.place))
        self.file.seek(self.start + self.place)
        got = self.file.readinto(memoryview(buffer)[:wanted]) or 0
        self.place += got
        return int(got)

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()


def _opened(root: Path, entry: Entry) -> int:
    """A handle of an entry's file, folder by folder: what was a folder or a file when it was listed may have become a link
    or a pipe."""
    careful = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if entry.start or os.open not in os.supports_dir_fd or not hasattr(os, "O_DIRECTORY"):
        return os.open(entry.file, careful)
    *folders, name = entry.file.relative_to(root).parts
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, careful | os.O_DIRECTORY, dir_fd=place)
            os.close(place)
            place = inner
        return os.open(name, careful, dir_fd=place)
    finally:
        os.close(place)


def _stamp(facts: os.stat_result) -> tuple[int, ...]:
    """What changes where a file is replaced or written to; its owner cannot set the last time back."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def open_bundle(path: Path) -> Bundle:
    """A bundle whose names, kinds and sizes are in order and that has a submission.json; VxpError with all faults
    otherwise. What the files hold is the validator's business."""
    findings = Findings()
    bundle = scan(path, findings)
    if findings.errors:
        raise VxpError(f"{path} is not a bundle that can be read:\n" + "\n".join(f"  {f}" for f in findings.all))
    return bundle


def scan(path: Path, findings: Findings) -> Bundle:
    """All regular files with acceptable names; everything else is a finding."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        findings.add("VXP-S001", "", "", f"{error.strerror}", "a folder or an uncompressed tar of a bundle")
        return Bundle(path, {})
    entries: list[Entry] = []
    if stat.S_ISDIR(mode):
        entries = list(_of_folder(path, findings))
    elif stat.S_ISREG(mode):
        entries = list(_of_tar(path.resolve(), findings))
    else:
        findings.add("VXP-S001", "", "", "neither a folder nor a file", "a folder or an uncompressed tar of a bundle")
    entries = list(_acceptable(entries, findings))
    total = sum(e.size for e in entries)
    if total > MAX_TOTAL:
        findings.add("VXP-S006", "", "", f"{total} bytes in all", f"at most {MAX_TOTAL} bytes (64 GiB)")
    bundle = Bundle(path, {e.path: e for e in sorted(entries, key=lambda e: e.path.encode())})
    if ROOT not in bundle.entries and not findings.has("VXP-S001"):
        findings.add("VXP-S001", ROOT, "", "no such file", "the root document submission.json, which vxp seal writes")
    return bundle


def shown(name: str) -> str:
    """A name from a stranger on one line of ASCII."""
    text = ascii(name)[1:-1]
    return text if len(text) <= 120 else text[:120] + f"... ({len(text)} characters)"


def _acceptable(entries: Sequence[Entry], findings: Findings) -> Iterator[Entry]:
    """Entries whose names are paths inside the bundle, portable, and different from each other on every system."""
    seen: dict[str, str] = {}
    files: set[str] = set()
    for entry in entries:
        path, name = entry.path, shown(entry.path)
        if not PATH.fullmatch(path) or len(path) > MAX_PATH:
            findings.add("VXP-S002", name, "", f"the name '{name}' of {len(entry.path)} characters",
                         "a relative path of A-Z a-z 0-9 . _ - and /, without . or .. as a part, of at most 200 characters")
            continue
        bad = [part for part in path.split("/") if RESERVED.fullmatch(part) or part.endswith(".")]
        if bad:
            findings.add("VXP-S003", name, "", f"the part {bad[0]!r}",
                         "names that every operating system can store: no device such as CON or NUL, no point at the end")
            continue
        # a folder's name counts too: a/x and A/y share a folder on some systems and not on others
        folders = [path[:i] for i, c in enumerate(path) if c == "/"]
        clash = next((seen[p.casefold()] for p in [*folders, path] if seen.get(p.casefold(), p) != p), None)
        if clash is None:
            clash = path if path.casefold() in seen else next((p for p in folders if p in files), None)
        if clash is not None:
            findings.add("VXP-S003", name, "", f"the names {clash!r} and {path!r}",
                         "names that differ by more than upper and lower case, each once, and each a file or a folder")
            continue
        seen |= {p.casefold(): p for p in [*folders, path]}
        files.add(path)
        yield entry


def _of_folder(root: Path, findings: Findings) -> Iterator[Entry]:
    """Regular files below a folder; links, pipes and devices are findings and are not opened."""
    count = 0
    todo = [("", root)]
    while todo:
        prefix, folder = todo.pop()
        try:
            with os.scandir(folder) as listing:
                found = sorted(islice(listing, MAX_FILES + 1), key=lambda e: os.fsencode(e.name))
        except OSError as error:
            findings.add("VXP-S001", shown(prefix), "", f"{error.strerror}", "a folder that can be listed")
            continue
        for item in found:
            count += 1
            if count > MAX_FILES:
                findings.add("VXP-S006", "", "", f"more than {MAX_FILES} files and folders", f"at most {MAX_FILES}")
                return
            name = prefix + item.name
            try:
                facts = os.lstat(item.path)
            except OSError as error:
                findings.add("VXP-S004", shown(name), "", f"{error.strerror}", "a regular file with one name")
                continue
            if stat.S_ISDIR(facts.st_mode):
                if len(name) > MAX_PATH:
                    findings.add("VXP-S002", shown(name), "", f"a folder's name of {len(name)} characters",
                                 "a path of at most 200 characters")
                    continue
                todo.append((name + "/", Path(item.path)))
            elif not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
                findings.add("VXP-S004", shown(name), "", _kind(facts.st_mode), "a regular file with one name")
            else:
                yield Entry(name, Path(item.path), 0, facts.st_size, _stamp(facts))


def _kind(mode: int) -> str:
    kinds = {stat.S_ISLNK: "a symbolic link", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket",
             stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISREG: "a hard link: a file with several names"}
    return next((words for test, words in kinds.items() if test(mode)), "a special file")


# ------------------------------------------------------------------------------------------------------------------ tar


@dataclass
class _Header:
    """The fields of a tar header that a bundle's tar fixes."""

    name: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    kind: bytes
    faults: list[str] = field(default_factory=list)


def _of_tar(path: Path, findings: Findings) -> Iterator[Entry]:
    """Regular files of an uncompressed POSIX (ustar) archive. Its own small reader: the extensions of other readers
    (long names, sparse files, links) are what archives attack with, and a bundle needs none of them."""
    previous = b""
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        length, stamp = facts.st_size, _stamp(facts)
        place, count, ended = 0, 0, False
        while place + BLOCK <= length:
            file.seek(place)
            block = file.read(BLOCK)
            if block == bytes(BLOCK):
                ended = True
                break
            header = _header(block)
            if isinstance(header, str):
                findings.add("VXP-S005", "", f"byte {place}", header, "a POSIX ustar header: an uncompressed tar")
                return
            count += 1
            if count > MAX_FILES:
                findings.add("VXP-S006", "", "", f"more than {MAX_FILES} files", f"at most {MAX_FILES}")
                return
            start = place + BLOCK
            place = start + -(-header.size // BLOCK) * BLOCK
            name = shown(header.name)
            if place > length:
                findings.add("VXP-S005", name, f"byte {start}", f"{header.size} bytes claimed, {length - start} there",
                             "a whole archive")
                return
            encoded = header.name.encode("utf-8", "surrogateescape")
            if encoded <= previous:
                header.faults.append("a name that does not come after the one before it")
            previous = encoded
            if header.kind != b"0":
                findings.add("VXP-S004", name, f"byte {start - BLOCK}", f"an entry of type {header.kind!r}",
                             "a regular file (type '0')")
                continue
            if not header.faults and block != (own := _own_header(header)):
                at = next(i for i, (a, b) in enumerate(zip(block, own, strict=True)) if a != b)
                header.faults.append(f"byte {at} of the header is {block[at]:#04x}, {own[at]:#04x} in that of vxp seal")
            file.seek(start + header.size)
            if file.read(place - start - header.size).strip(b"\0"):
                header.faults.append("bytes between the file's end and the next header")
            if header.faults:
                findings.add("VXP-S005", name, f"byte {start - BLOCK}", "; ".join(header.faults),
                             "names in bytewise order, each once; owner and group 0, time 0, mode 644; zeros wherever nothing "
                             "stands: the one tar that the files give")
            yield Entry(header.name, path, start, header.size, stamp)
        if not ended:
            findings.add("VXP-S005", "", f"byte {place}", "the end of the file", "two blocks of zeros that end a tar")
            return
        file.seek(place)
        if file.read(2 * BLOCK + 1) != bytes(2 * BLOCK):
            findings.add("VXP-S005", "", f"byte {place}", f"{length - place} bytes after the last file",
                         f"two blocks of zeros ({2 * BLOCK} bytes), which end the archive")


def _header(block: bytes) -> _Header | str:
    """The header of a block, or what is wrong with it."""
    if block[257:263] != b"ustar\0" or block[263:265] != b"00":
        return f"the bytes {block[:8].hex()} ..., no POSIX ustar header"
    numbers = {}
    for name, first, last in (("mode", 100, 108), ("uid", 108, 116), ("gid", 116, 124), ("size", 124, 136),
                              ("mtime", 136, 148), ("sum", 148, 156)):
        text = block[first:last].rstrip(b"\0 ")
        if not re.fullmatch(rb" *[0-7]+", text):
            return f"the field {name} {block[first:last]!r}, no octal number"
        numbers[name] = int(text, 8)
    # the sum in its one form, since it is no part of itself
    if block[148:156] != f"{sum(block[:148]) + 8 * 32 + sum(block[156:]):06o}\0 ".encode():
        return f"a header whose sum is not {numbers['sum']}"
    base, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
    name = (prefix + b"/" + base if prefix else base).decode("utf-8", "surrogateescape")
    header = _Header(name, numbers["mode"], numbers["uid"], numbers["gid"], numbers["size"], numbers["mtime"],
                     block[156:157].replace(b"\0", b"0"))
    if (header.uid, header.gid, header.mtime) != (0, 0, 0):
        header.faults.append(f"owner {header.uid}, group {header.gid}, time {header.mtime}")
    if header.mode != 0o644:
        header.faults.append(f"mode {header.mode:o}")
    return header


def write_tar(out: Path, files: Mapping[str, Path]) -> None:
    """A bundle as one tar: the same files give the same bytes. VxpError where a name is too long for a ustar header."""
    with store.whole(out):
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")  # its own, and no link that lay there
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as tar:
                for path in sorted(files, key=str.encode):
                    size = files[path].stat().st_size
                    tar.write(_tar_header(path, size))
                    with files[path].open("rb") as source:
                        while part := source.read(1 << 20):
                            tar.write(part)
                    tar.write(bytes(-size % BLOCK))
                tar.write(bytes(2 * BLOCK))
                tar.flush()
                os.fsync(tar.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)


def _own_header(header: _Header) -> bytes:
    """The header that `write_tar` writes for such a file; no bytes where it writes none."""
    try:
        return _tar_header(header.name, header.size)
    except (VxpError, UnicodeEncodeError):
        return bytes(BLOCK)


def _tar_header(path: str, size: int) -> bytes:
    name, prefix = path, ""
    if len(name) > 100:
        cut = next((i for i, c in enumerate(path) if c == "/" and i <= 155 and len(path) - i - 1 <= 100), None)
        if cut is None:
            raise VxpError(f"the path {path} of {len(path)} characters does not fit a tar header: seal into a folder")
        prefix, name = path[:cut], path[cut + 1:]
    fields = [name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", f"{size:011o}\0".encode(),
              b"00000000000\0", b" " * 8, b"0", bytes(100), b"ustar\0", b"00", bytes(32), bytes(32), bytes(8), bytes(8),
              prefix.encode().ljust(155, b"\0"), bytes(12)]
    block = b"".join(fields)
    total = f"{sum(block):06o}\0 ".encode()
    return block[:148] + total + block[156:]


__all__ = ["MAX_FILES", "MAX_TOTAL", "PATH", "ROOT", "Bundle", "Entry", "Finding", "open_bundle", "scan",
           "shown", "write_tar"]
