"""`vxp data get`: found, fetched, resumed, checked and unpacked whole, or told exactly what to do."""

import hashlib
import http.server
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from vxp.core import VxpError
from vxp.datasets import stamps
from vxp.maintain import data_get
from vxp.maintain.data_get import Package

DEB = bytes(range(256)) * 4096
FEW = {"animals/cat": (281,), "food/pear": (951,)}


class Server(http.server.BaseHTTPRequestHandler):
    """Serves DEB; `ranges` says whether it knows ranges, `asked` what it was asked for."""

    ranges = True
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        self.send_response(206 if start else 200)
        self.end_headers()
        self.wfile.write(DEB[start:])

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def uri() -> Iterator[str]:
    Server.asked, Server.ranges = [], True
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/stamps.deb"
        server.shutdown()


def package(uri: str, sha256: str = hashlib.sha256(DEB).hexdigest()) -> Package:
    return Package(uri, "stamps.deb", len(DEB), sha256)


def copied(folder: Path) -> None:
    """Two stamps as the document of these tests names them."""
    for stamp in FEW:
        (folder / stamp).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{stamp}.png").write_bytes(stamp.encode())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data set of two stamps, nothing installed, an empty cache."""
    monkeypatch.delenv("VXP_STAMPS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stamps, "INSIDE", Path("test/stamps"))
    monkeypatch.setattr(stamps, "mapping", lambda: FEW)
    monkeypatch.setattr(data_get, "digests", lambda name: {
        f"test/stamps/{stamp}.png": "sha256:" + hashlib.sha256(stamp.encode()).hexdigest() for stamp in FEW})


# --------------------------------------------------------------------------------------------------------- what is here


def test_an_unknown_name_is_named_with_the_nearest() -> None:
    with pytest.raises(VxpError, match="did you mean 'stamps'"):
        data_get.get("stamp")


@pytest.mark.usefixtures("few")
def test_a_named_folder_is_used_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXP_STAMPS", str(tmp_path / "mine"))
    with pytest.raises(VxpError, match=f"VXP_STAMPS: the folder {tmp_path / 'mine'} lacks"):
        data_get.get("stamps")
    copied(tmp_path / "mine")
    assert data_get.get("stamps") == tmp_path / "mine"
    (tmp_path / "mine/food/pear.png").write_bytes(b"another pear")
    with pytest.raises(VxpError, match=r"1 of 2 stamps differ .* first food/pear\.png"):
        data_get.get("stamps")


# ------------------------------------------------------------------------------------------------------------- download


def test_a_download_is_whole_and_a_part_is_continued(tmp_path: Path, uri: str) -> None:
    (tmp_path / "0123.part").write_bytes(b"of another version")
    whole = data_get.downloaded(package(uri), tmp_path, io.StringIO())
    assert whole.read_bytes() == DEB
    whole.write_bytes(DEB[:1000])
    assert data_get.downloaded(package(uri), tmp_path, io.StringIO()).read_bytes() == DEB
    assert data_get.downloaded(package(uri), tmp_path, io.StringIO()).read_bytes() == DEB
    assert Server.asked == [None, "bytes=1000-"]
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]


def test_a_server_without_ranges_sends_the_whole_again(tmp_path: Path, uri: str) -> None:
    Server.ranges = False
    data_get.downloaded(package(uri), tmp_path, io.StringIO()).write_bytes(DEB[:1000])
    assert data_get.downloaded(package(uri), tmp_path, io.StringIO()).read_bytes() == DEB


def test_a_file_of_another_digest_is_refused_and_removed(tmp_path: Path, uri: str) -> None:
    with pytest.raises(VxpError, match=f"SHA-256 {hashlib.sha256(DEB).hexdigest()}, expected {'0' * 64}"):
        data_get.downloaded(package(uri, "0" * 64), tmp_path, io.StringIO())
    assert list(tmp_path.iterdir()) == []


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Shell scripts in place of apt-get and dpkg-deb, before all else on the path."""
    folder.mkdir()
    for name, script in scripts.items():
        tool = folder / name.replace("_", "-")
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_what_the_network_refuses_apt_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source.deb").write_bytes(DEB)
    tools(tmp_path / "bin", monkeypatch, apt_get=f"cp {tmp_path}/source.deb got.deb")
    (tmp_path / "cache").mkdir()
    told = io.StringIO()
    file = data_get.downloaded(package("http://127.0.0.1:9/stamps.deb"), tmp_path / "cache", told)
    assert file.read_bytes() == DEB
    assert "asking apt" in told.getvalue()
    file.unlink()
    assert data_get.downloaded(package("file:/mirror/stamps.deb"), tmp_path / "cache", told).read_bytes() == DEB


def test_apts_own_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(tmp_path / "bin", monkeypatch, apt_get="echo 'E: Unable to locate package' >&2; exit 100")
    with pytest.raises(VxpError, match=r"Unable to locate package\): run `apt-get update` as root"):
        data_get.described()
    with pytest.raises(VxpError, match="could not download"):
        data_get.downloaded(package("file:/mirror/stamps.deb"), tmp_path, io.StringIO())


@pytest.mark.usefixtures("few")
def test_without_apt_it_says_what_to_do_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VxpError, match=r"apt-get is not on this machine.*dpkg-deb -x.*VXP_STAMPS=DIR"):
        data_get.get("stamps")


# --------------------------------------------------------------------------------------------------------------- unpack


def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, unpack: str) -> None:
    line = f"'{uri}' stamps.deb {len(DEB)} SHA256:{hashlib.sha256(DEB).hexdigest()}"
    tools(tmp_path / "bin", monkeypatch, apt_get=f'echo "{line}"', dpkg_deb=unpack)


UNPACK = """cd $3; mkdir -p test/stamps/animals test/stamps/food
for stamp in animals/cat food/pear; do printf $stamp > test/stamps/$stamp.png; done"""


@pytest.mark.usefixtures("few")
def test_stamps_are_fetched_once_into_a_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    fetching(tmp_path, monkeypatch, uri, UNPACK)
    (tmp_path / "cache/vxp/stamps/.unpack-killed").mkdir(parents=True)
    told = io.StringIO()
    got = data_get.get("stamps", stream=told)
    assert got == tmp_path / "cache/vxp/stamps/unpacked/test/stamps"
    assert (got / "food/pear.png").read_bytes() == b"food/pear"
    assert "stamps.deb (1 MB)" in told.getvalue()
    assert sorted(path.name for path in (tmp_path / "cache/vxp/stamps").iterdir()) == ["lock", "unpacked"]
    assert data_get.get("stamps") == got == stamps.located()
    assert len(Server.asked) == 1


@pytest.mark.usefixtures("few")
def test_two_at_once_fetch_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    fetching(tmp_path, monkeypatch, uri, f"sleep 0.3; {UNPACK}")
    got: list[Path] = []
    both = [threading.Thread(target=lambda: got.append(data_get.get("stamps", stream=io.StringIO()))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(set(got)) == 1
    assert len(got) == 2
    assert len(Server.asked) == 1


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("unpack", "said"), [
    ("mkdir -p $3/half; echo 'No space left on device' >&2; exit 2", "No space left on device"),
    (UNPACK + '; printf other > test/stamps/food/pear.png', r"differ .* first food/pear\.png"),
])
def test_a_failed_unpacking_leaves_no_stamps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, unpack: str, said: str
) -> None:
    fetching(tmp_path, monkeypatch, uri, unpack)
    with pytest.raises(VxpError, match=said):
        data_get.get("stamps", stream=io.StringIO())
    assert not list((tmp_path / "cache/vxp/stamps").glob("*unpack*"))
    assert stamps.missing() is not None


@pytest.mark.skipif(bool(stamps.missing()), reason="needs the stamps: vxp data get stamps")
def test_the_stamps_on_this_machine_are_those_of_the_document() -> None:
    assert data_get.get("stamps") == stamps.located()


def test_apt_is_asked_in_a_form_it_understands() -> None:
    try:
        done = subprocess.run(["apt-get", "--print-uris", "download", stamps.PACKAGE], capture_output=True, text=True,
                              check=False)
    except FileNotFoundError:
        pytest.skip("needs apt-get")
    if done.returncode:
        pytest.skip("apt has no lists here: apt-get update")
    found = data_get.described()
    assert found.name.endswith(".deb")
    assert found.size > 100_000_000
