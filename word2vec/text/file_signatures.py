"""Kinds of files that no command reads, told by how they begin: what they are called, and what to do with them."""

from __future__ import annotations

import re

_UNPACK = "unpack it first: {} FILE"
_TEXT = "take its text out first"
_VECTORS = "write its vectors in word2vec's form (gensim: save_word2vec_format)"
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK.format("zstd -d")),
    (b"\x04\x22\x4d\x18", "an lz4 archive", _UNPACK.format("lz4 -d")),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK.format("7z x")),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK.format("unrar x")),
    (b"\x1f\x9d", "a compress (.Z) archive", _UNPACK.format("uncompress")),
    (b"\x1f\x8b", "a gzip archive inside an archive", _UNPACK.format("gzip -d")),
    (b"\xfd7zXZ\x00", "an xz archive inside an archive", _UNPACK.format("xz -d")),
    (b"LZIP", "an lzip archive", _UNPACK.format("lzip -d")),
    (b"%PDF-", "a PDF", f"{_TEXT}: pdftotext FILE NEW"),
    (b"{\\rtf", "an RTF document", _TEXT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", _TEXT),
    (b"PAR1", "a Parquet table", "write its text out first, as JSON lines for one (pandas: to_json)"),
    (b"ARROW1", "an Arrow table", "write its text out first, as JSON lines for one (pandas: to_json)"),
    (b"FEA1", "a Feather table", "write its text out first, as JSON lines for one (pandas: to_json)"),
    (b"SQLite format 3\x00", "an SQLite database", "write its text out first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _VECTORS),
    (b"\x93NUMPY", "a NumPy array", _VECTORS),
    (b"\xba\x16\x4f\x2f", "a fastText model", "give the .vec file that fastText wrote beside it"),
    (b"GGUF", "a GGUF model", _VECTORS),
    (b"\x89PNG", "a PNG picture", "name a file of text"),
    (b"\xff\xd8\xff", "a JPEG picture", "name a file of text"),
    (b"GIF8", "a GIF picture", "name a file of text"),
    (b"\x7fELF", "a program", "name a file of text"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml\b|<!doctype html|<html\b|<head\b|<body\b)", re.IGNORECASE)


def signature(head: bytes) -> tuple[str, str] | None:
    """(name, what to do) of a file that begins with ``head`` and is none that could be read; None for others."""
    for begins, name, remedy in _BEGINNINGS:
        if head.startswith(begins):
            return name, remedy
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "a bzip2 archive inside an archive", _UNPACK.format("bzip2 -d")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(head)
    if re.match(rb"\x80[\x02-\x05]", head):
        return "a Python pickle (gensim's or PyTorch's)", _VECTORS
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK.format("tar -xf")
    if re.match(rb".{7}\x00\{\s*\"", head, re.DOTALL):
        return "a safetensors file", _VECTORS
    if markup := _MARKUP.match(head):
        what = "an XML document" if markup[0].endswith(b"xml") else "an HTML page"
        return what, _TEXT
    return None


def _zip(head: bytes) -> tuple[str, str]:
    size = int.from_bytes(head[26:28], "little")
    inside = head[30 : 30 + size]
    if inside.endswith((b"/data.pkl", b"/.format_version", b"/byteorder")) or b"/data.pkl" in head[:4096]:
        return "a PyTorch checkpoint", "give a file of text or of word vectors, not a model"
    if inside.endswith(b".npy"):
        return "NumPy arrays (.npz)", _VECTORS
    if inside.startswith((b"[Content_Types]", b"_rels/", b"word/", b"xl/", b"docProps/")):
        return "an Office document", _TEXT
    if inside == b"mimetype":
        return "an OpenDocument or EPUB file", _TEXT
    return "a zip archive", _UNPACK.format("unzip")
