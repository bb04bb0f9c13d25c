"""A file of settings, as ``--config`` names one: a JSON object of options, read so that each is known with its line.

What is none is said in a line: what it is, where, and what to do. JSON's own rules hold, and two more: a number is a number
(not NaN), and an option stands there once.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from training.errors import ConfigError
from training.visible import shortened

LARGEST = 1 << 24  # bytes
DEEPEST = 100  # lists or objects in each other; options have one
_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|-?Infinity|NaN', re.DOTALL)
_TOML = re.compile(r"^\s*(\[[\w.\" -]+\]\s*(#.*)?|[\w.\"-]+\s*=.*)$", re.MULTILINE)
_YAML = re.compile(r"^\s*(---.*|[\w\"'-]+\s*:(\s.*)?|- .*)$", re.MULTILINE)
_EXPECTED = "expected a JSON object of options"
_FORM = 'write them as in a run\'s config.json: {"seed": 1, "max_epochs": 3}'


@dataclass(frozen=True)
class SettingsFile:
    """The options that a file sets, and the line of each."""

    path: str
    values: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, name: str) -> str:
        """ "file:line" of an option."""
        return f"{self.path}:{self.lines[name]}" if name in self.lines else self.path


def read(path: str | Path) -> SettingsFile:
    """The settings in a file. ConfigError (file:line) for what is none."""
    name = str(path)
    text = _decoded(name, _bytes(name))
    values = _parsed(name, text)
    if not isinstance(values, dict):
        got = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}.get(type(values), "a number")
        raise ConfigError(f"{name}:{_first_line(text)}: {_EXPECTED}, got {got}; {_FORM}")
    lines: dict[str, int] = {}
    for token in _tokens(text):
        if token.text.endswith(("NaN", "Infinity")):
            got = f"{token.text}, which is no number of JSON's"
            raise ConfigError(f"{name}:{token.line}: expected a finite number, got {got}")
        if token.is_option:
            option = json.loads(token.text, strict=False)
            if option in lines:
                first = f"it is in line {lines[option]}, too"
                raise ConfigError(
                    f"{name}:{token.line}: expected each option once, got {shortened(option, 60)!r} again; {first}"
                )
            lines[option] = token.line
    return SettingsFile(name, values, lines)


def _bytes(name: str) -> bytes:
    """The file's bytes. ConfigError for what is no file, or a pipe: a run that starts itself anew reads the file again."""
    try:
        found = os.stat(name)
        if stat.S_ISDIR(found.st_mode):
            remedy = "; give the config.json in it" if os.path.isfile(os.path.join(name, "config.json")) else ""
            raise ConfigError(f"{name}: expected a file of settings, got a folder{remedy}")
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{name}: expected a file of settings, got a pipe or a device; write them to a file first")
        if found.st_size > LARGEST:
            raise ConfigError(f"{name}: expected a file of settings, got one of {found.st_size:,} bytes")
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{name}: cannot read the config file: {reason}") from None


def _decoded(name: str, data: bytes) -> str:
    """The file's text, without a byte-order mark."""
    for magic, archive in _ARCHIVES.items():
        if data.startswith(magic):
            raise ConfigError(f"{name}:1: {_EXPECTED}, got a {archive} archive; unpack it first")
    encoding = json.detect_encoding(data)
    if not encoding.startswith("utf-8"):
        wide = encoding[:6].upper() if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else encoding.upper()
        remedy = f"convert it: iconv -f {wide.replace('-LE', 'LE').replace('-BE', 'BE')} -t UTF-8 FILE > NEW"
        raise ConfigError(f"{name}:1: expected JSON in UTF-8, got {wide[:6]}; {remedy}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: expected JSON in UTF-8, got byte 0x{data[error.start]:02x}") from None


def _parsed(name: str, text: str) -> Any:
    """The value of the text; NaN and the like are still in it."""
    if not text.strip():
        raise ConfigError(f"{name}:1: {_EXPECTED}, got an empty file")
    deep = next((token.line for token in _tokens(text) if token.depth > DEEPEST), None)
    try:
        if deep is None:
            return json.loads(text, parse_int=_whole)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith(("{", "[{")):
            for form, pattern in (("TOML", _TOML), ("YAML", _YAML)):
                if found := pattern.search(text):
                    line = text.count("\n", 0, found.start(1)) + 1
                    raise ConfigError(f"{name}:{line}: {_EXPECTED}, got what looks like {form}; {_FORM}") from None
        raise ConfigError(f"{name}:{error.lineno}: expected JSON, got {_fault(error)}") from None
    except RecursionError:
        deep = 1
    raise ConfigError(f"{name}:{deep}: {_EXPECTED}, got JSON that is nested too deep")


def _fault(error: json.JSONDecodeError) -> str:
    """What is wrong with JSON, and where in its line."""
    rest = error.doc[error.pos : error.pos + 20].split("\n")[0]
    return f"{rest!r} at column {error.colno} ({error.msg})" if rest else f"its end ({error.msg})"


def _whole(digits: str) -> int:
    """A whole number; one that Python would not read is as far out of every range."""
    return int(digits) if len(digits) < 1000 else -(10**999) if digits.startswith("-") else 10**999


def _first_line(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n") + 1


class _Token(NamedTuple):
    text: str
    line: int
    depth: int  # of lists and objects in each other
    is_option: bool  # whether it is a key of the outermost object


def _tokens(text: str) -> Iterator[_Token]:
    """The strings, marks and constants of a JSON text, with their lines."""
    line, at, depth, before = 1, 0, 0, ""
    for found in _TOKEN.finditer(text):
        token = found[0]
        line, at = line + text.count("\n", at, found.start()), found.start()
        depth += (token in "{[") - (token in "}]")
        yield _Token(
            token, line, depth, token[0] == '"' and depth == 1 and before in ("{", ",") and text.lstrip()[:1] == "{"
        )
        before = token
