"""Downloads, against a server on the loopback address."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training.errors import ConfigError, DataError
from word2vec.fetch import CATALOG, Download, fetch

FILES = {"words.txt": b"one two three\n" * 1000, "sub/more.txt": b"", "sub/last.bin": bytes(range(256)) * 50}


def zipped(files: dict[str, bytes], mode: int = 0) -> bytes:
    """A zip archive; ``mode`` is the Unix file type and rights of its members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


class Server:
    """Serves ``body`` at every path; ``fault`` says how it misbehaves."""

    def __init__(self, body: bytes) -> None:
        self.body, self.fault, self.requests = body, "", 0
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                if outer.fault == "404":
                    self.send_error(404)
                elif outer.fault == "redirect" and self.path != "/moved/data.zip":
                    self.send_response(302)
                    self.send_header("Location", "/moved/data.zip")
                    self.end_headers()
                else:
                    self.send_response(200)
                    if outer.fault != "no length":
                        self.send_header("Content-Length", str(len(outer.body)))
                    self.end_headers()
                    self.wfile.write(outer.body[: len(outer.body) // 2])
                    self.wfile.flush()
                    if outer.fault == "stall":
                        outer.release.wait(30)
                    elif outer.fault != "short":
                        self.wfile.write(outer.body[len(outer.body) // 2 :])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def catalog(self, sha256: str = "") -> dict[str, Download]:
        url = f"http://127.0.0.1:{self.http.server_address[1]}/data.zip"
        return {"sample": Download(url, sha256 or hashlib.sha256(self.body).hexdigest())}

    def close(self) -> None:
        self.release.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started = Server(zipped(FILES))
    yield started
    started.close()


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def others(folder: Path) -> dict[str, bytes]:
    """All but the archive."""
    return {name: data for name, data in content(folder).items() if name != "data.zip"}


def failure(server: Server, to: Path, *, sha256: str = "", timeout: float = 10.0) -> str:
    """The message of the DataError that a fetch ends with; it must be one line and leave nothing half-written."""
    before = others(to)
    with pytest.raises(DataError) as caught:
        fetch("sample", to, catalog=server.catalog(sha256), timeout=timeout)
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message
    assert "got" in message
    assert others(to) == before
    return message


def test_downloads_unpacks_and_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    paths = fetch("sample", tmp_path / "new" / "data", catalog=server.catalog(), progress=lambda *step: seen.append(step))
    assert paths == [tmp_path / "new" / "data" / name for name in sorted(FILES)]
    assert content(tmp_path / "new" / "data") == {**FILES, "data.zip": server.body}
    size = sum(map(len, FILES.values()))
    assert ("downloading data.zip", len(server.body), len(server.body)) in seen
    assert seen[-1] == ("unpacking data.zip", size, size)


def test_what_is_there_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    lines: list[str] = []
    first = fetch("sample", tmp_path, catalog=server.catalog(), tell=lines.append)
    assert lines == []
    (tmp_path / "words.txt").write_bytes(b"damaged")
    kept = (tmp_path / "sub/last.bin").stat().st_mtime_ns
    assert fetch("sample", tmp_path, catalog=server.catalog(), tell=lines.append) == first
    assert server.requests == 1
    assert len(lines) == 1
    assert "already there" in lines[0]
    assert content(tmp_path) == {**FILES, "data.zip": server.body}
    assert (tmp_path / "sub/last.bin").stat().st_mtime_ns == kept


def test_an_archive_with_another_sum_is_replaced(server: Server, tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "data.zip").write_bytes(b"something else")
    fetch("sample", tmp_path, catalog=server.catalog(), tell=lines.append)
    assert "again" in lines[0]
    assert content(tmp_path) == {**FILES, "data.zip": server.body}


def test_a_failed_replacement_keeps_the_old_archive(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"something else")
    server.fault = "short"
    failure(server, tmp_path)
    assert content(tmp_path) == {"data.zip": b"something else"}


@pytest.mark.parametrize("fault", ["no length", "redirect"])
def test_servers_that_are_still_right(server: Server, tmp_path: Path, fault: str) -> None:
    server.fault = fault
    fetch("sample", tmp_path, catalog=server.catalog())
    assert content(tmp_path) == {**FILES, "data.zip": server.body}


def test_404(server: Server, tmp_path: Path) -> None:
    server.fault = "404"
    assert "HTTP 404" in failure(server, tmp_path)
    assert content(tmp_path) == {}


def test_short_body(server: Server, tmp_path: Path) -> None:
    server.fault = "short"
    message = failure(server, tmp_path)
    assert f"{len(server.body):,} bytes" in message
    assert content(tmp_path) == {}


def test_timeout(server: Server, tmp_path: Path) -> None:
    server.fault = "stall"
    assert "timed out" in failure(server, tmp_path, timeout=0.2)
    assert content(tmp_path) == {}


def test_wrong_sum(server: Server, tmp_path: Path) -> None:
    assert "0" * 64 in failure(server, tmp_path, sha256="0" * 64)
    assert content(tmp_path) == {}


def test_connection_refused(server: Server, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/data.zip"
    with pytest.raises(DataError, match="refused") as caught:
        fetch("sample", tmp_path, catalog={"sample": Download(url, "0" * 64)})
    assert "\n" not in str(caught.value)
    assert content(tmp_path) == {}


def test_a_left_over_part_is_discarded(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(b"x" * 10 * len(server.body))
    (tmp_path / "words.txt.part").write_bytes(b"half")
    fetch("sample", tmp_path, catalog=server.catalog())
    assert content(tmp_path) == {**FILES, "data.zip": server.body}


def test_an_interrupt_leaves_nothing_and_the_next_call_works(server: Server, tmp_path: Path) -> None:
    def interrupt_while(stage: str) -> None:
        def interrupt(what: str, done: int, total: int) -> None:
            if what.startswith(stage):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch("sample", tmp_path, catalog=server.catalog(), progress=interrupt)

    interrupt_while("downloading")
    assert content(tmp_path) == {}
    interrupt_while("unpacking")
    assert content(tmp_path) == {"data.zip": server.body}
    fetch("sample", tmp_path, catalog=server.catalog())
    assert content(tmp_path) == {**FILES, "data.zip": server.body}


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:/evil.txt", "C:evil.txt", "..\\evil.txt", "\\evil.txt"]
)
def test_names_that_lead_outside_are_refused(server: Server, tmp_path: Path, name: str) -> None:
    server.body = zipped({"fine.txt": b"fine", name: b"evil"})
    folder = tmp_path / "data"
    assert "nothing was unpacked" in failure(server, folder)
    assert content(tmp_path) == {"data/data.zip": server.body}


def test_links_are_refused(server: Server, tmp_path: Path) -> None:
    server.body = zipped({"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    assert "'link'" in failure(server, tmp_path)


def test_folders_that_are_links_to_the_outside_are_refused(server: Server, tmp_path: Path) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "sub").symlink_to(outside, target_is_directory=True)
    assert "'sub/" in failure(server, folder)
    assert content(outside) == {}


def test_a_member_that_is_a_folder_here_or_the_archive_itself(server: Server, tmp_path: Path) -> None:
    (tmp_path / "words.txt").mkdir()
    assert "'words.txt'" in failure(server, tmp_path)
    server.body = zipped({"data.zip": b"not me"})
    assert "'data.zip'" in failure(server, tmp_path)


@pytest.mark.parametrize("damage", ["no zip", "crc"])
def test_an_archive_that_cannot_be_unpacked(server: Server, tmp_path: Path, damage: str) -> None:
    if damage == "no zip":
        server.body = b"<html>moved</html>"
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("a.txt", "A" * 100)
            archive.writestr("b.txt", "B" * 100)
        server.body = buffer.getvalue().replace(b"B" * 100, b"B" * 99 + b"C")
    failure(server, tmp_path)
    assert content(tmp_path) == {"data.zip": server.body}


def test_the_folder_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    failure(server, tmp_path / "data")
    assert server.requests == 0


@pytest.mark.parametrize("stage", ["download", "unpack"])
def test_a_disk_that_fails(server: Server, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == (1 if stage == "download" else 3):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in failure(server, tmp_path)
    assert content(tmp_path) == ({} if stage == "download" else {"data.zip": server.body})


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of glove, text8, got 'texas'"):
        fetch("texas", tmp_path)


def test_the_catalog() -> None:
    assert set(CATALOG) == {"glove", "text8"}
    for download in CATALOG.values():
        assert len(bytes.fromhex(download.sha256)) == 32
        assert download.file_name.endswith(".zip")
