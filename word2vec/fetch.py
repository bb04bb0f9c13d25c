"""Downloads of public vectors and text: checked by SHA-256, unpacked safely, whole or not there at all.

``fetch("text8", Path("data"))`` leaves data/text8.zip and what it holds. The archive stays, since it is what the sum is
known of: a second call checks it, and downloads nothing.
"""

from __future__ import annotations

import http.client
import os
import stat
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.errors import ConfigError, DataError
from training.files import sha256_file
from training.job_progress import JobProgress

BLOCK = 1 << 20


@dataclass(frozen=True)
class Download:
    """A zip archive on the web and the SHA-256 of its bytes."""

    url: str
    sha256: str

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


CATALOG: Mapping[str, Download] = {
    # Pennington et al. 2014, "GloVe: Global Vectors for Word Representation": 6 billion tokens, 50, 100, 200 and 300-d
    "glove": Download(
        "https://nlp.stanford.edu/data/glove.6B.zip", "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb"
    ),
    # Mahoney 2011, "About the test data": the first 100 million characters of cleaned English Wikipedia, a-z and spaces
    "text8": Download(
        "http://mattmahoney.net/dc/text8.zip", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"
    ),
}


def fetch(
    name: str,
    to: Path,
    *,
    catalog: Mapping[str, Download] = CATALOG,
    progress: JobProgress | None = None,
    tell: Callable[[str], None] | None = None,
    timeout: float = 60.0,
) -> list[Path]:
    """Download and unpack ``name`` into the folder ``to`` (made if it is not there); returns the unpacked files.

    ``progress(what, done, total)`` counts bytes; ``tell`` gets a line where something is there already or is made anew;
    ``timeout``: seconds without a byte. What is there and right is kept; a failure leaves nothing half-written.
    Raises ConfigError for an unknown name, DataError for all that can go wrong with network, sum, archive and disk.
    """
    if name not in catalog:
        raise ConfigError(f"fetch: expected one of {', '.join(sorted(catalog))}, got {name!r}")
    download, progress, tell = catalog[name], progress or (lambda *_: None), tell or (lambda _: None)
    archive = to / download.file_name
    try:
        to.mkdir(parents=True, exist_ok=True)
        if archive.is_file() and sha256_file(archive) == download.sha256:
            tell(f"{archive}: already there, and its SHA-256 is right; nothing is downloaded")
        else:
            if archive.exists():
                tell(f"{archive}: its SHA-256 is not the expected one, so it is downloaded again")
            _download(name, download, archive, progress, timeout)
        return _unpack(archive, to, progress)
    except OSError as error:
        hint = "check the folder, its rights and the free space"
        raise DataError(f"{name}: expected to write into {to}, got {error}; {hint}") from None


def _download(name: str, download: Download, archive: Path, progress: JobProgress, timeout: float) -> None:
    part = archive.with_name(f"{archive.name}.part")  # one that an earlier run left behind is overwritten from its start
    hint = f"try again, or put the file at {archive} yourself"
    try:
        with open(part, "wb") as target:
            done, total = _copy(name, download, target.write, progress, timeout, hint)
            target.flush()
            os.fsync(target.fileno())
        if total is not None and done != total:
            raise DataError(f"{name}: expected {total:,} bytes from {download.url}, got {done:,}; {hint}")
        # Read back from the disk, so that another process that wrote the same .part meanwhile is noticed too.
        if (got := sha256_file(part)) != download.sha256:
            raise DataError(f"{name}: expected SHA-256 {download.sha256} from {download.url}, got {got}; {hint}")
        os.replace(part, archive)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(
    name: str, download: Download, write: Callable[[bytes], int], progress: JobProgress, timeout: float, hint: str
) -> tuple[int, int | None]:
    """Pass the body on; returns its bytes and how many the server announced. Errors of the disk are left to the caller."""
    done = 0
    response = None
    try:
        while True:
            try:
                if response is None:
                    request = urllib.request.Request(download.url, headers={"User-Agent": "samebits"})
                    response = urllib.request.urlopen(request, timeout=timeout)
                    length = response.headers.get("Content-Length", "")
                    total = int(length) if length.isdecimal() else None
                block = response.read(BLOCK)
            except urllib.error.HTTPError as error:
                error.close()
                raise DataError(f"{name}: expected {download.url}, got HTTP {error.code} {error.reason}; {hint}") from None
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or str(error) or type(error).__name__
                raise DataError(f"{name}: expected {download.url}, got {reason} after {done:,} bytes; {hint}") from None
            if not block:
                return done, total
            write(block)
            done += len(block)
            if total is not None:
                progress(f"downloading {download.file_name}", done, total)
    finally:
        if response is not None:
            response.close()


def _unpack(archive: Path, to: Path, progress: JobProgress) -> list[Path]:
    """Unpack all files, or none: into temporary names first. Files that are there with the right bytes are kept."""
    temporary: dict[Path, Path] = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {_target(info, archive, to): info for info in opened.infolist() if not info.is_dir()}
            wrong = {path: info for path, info in members.items() if not _is_there(path, info)}
            total, done = sum(info.file_size for info in wrong.values()), 0
            for path, info in wrong.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary[path] = path.with_name(f"{path.name}.part")
                with opened.open(info) as source, open(temporary[path], "wb") as target:
                    while block := source.read(BLOCK):
                        target.write(block)
                        done += len(block)
                        progress(f"unpacking {archive.name}", done, total)
                    target.flush()
                    os.fsync(target.fileno())
        for path, part in temporary.items():
            os.replace(part, path)
        return sorted(members)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        wanted = "a zip archive that can be unpacked"
        raise DataError(f"{archive}: expected {wanted}, got {error}; delete it and try again") from None
    finally:
        for part in temporary.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _target(info: zipfile.ZipInfo, archive: Path, to: Path) -> Path:
    """Where a member goes; DataError where that is not a plain file inside the folder."""
    name = info.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    outside = not parts or parts[0] == "/" or ".." in parts or ":" in name or "\\" in name
    kind = stat.S_IFMT(info.external_attr >> 16)
    path = to.joinpath(*parts) if not outside else to
    inside = path.resolve().is_relative_to(to.resolve()) and path != archive and not path.is_dir()
    if outside or not inside or kind not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: expected plain files inside the folder {to}, got {name!r}; nothing was unpacked")
    return path


def _is_there(path: Path, info: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    crc = 0
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == info.CRC
