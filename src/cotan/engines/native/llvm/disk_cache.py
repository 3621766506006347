"""The disk cache: a folder of object files and of LLVM IR, which later processes load instead of compiling again.

It has two kinds of entries: objects, which `jit` stores, and the LLVM IR of Programs, which `cache.program_cache` stores. The key of an
object is a hash of all inputs of its compilation: the LLVM IR, the level of optimization, the processor and its features, the versions of
LLVM and of this format. The key of IR is a `cache.fingerprint`. An entry holds a hash of its key and content, so a damaged or renamed one
is not loaded, but compiled again. Code of other users is never run: the folder and the entry must belong to the user, and nobody else may
have the right to write to them. Entries are written under another name and then renamed, so a reader sees a whole entry or none.

COTAN_CACHE_DIR is the folder (else ``cotan`` in the user's folder for caches); COTAN_CACHE=0 turns the cache off; COTAN_CACHE_BYTES bounds
the size of all entries (1 GB), by removal of the least recently used ones now and then. An error of the file system is no error here:
then the code is compiled.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Contents", "clear", "contents", "folder", "load", "store"]

MAGIC = b"cotan object 1\n"
KINDS = (".o", ".ll")
"""The suffixes of objects and of LLVM IR."""
DEFAULT_BYTES = 1 << 30
STORES_BETWEEN = 32
"""The fewest entries that are written between two checks of the folder's size."""
SHARE_BETWEEN = 8
"""One entry is written for so many in the folder, at least, between two checks: a check takes as long as entries are many."""
_unchecked = STORES_BETWEEN - os.getpid() % STORES_BETWEEN
"""The number of entries until the next check. It starts by the process number, so that a few of many short processes check the size."""


class Contents(NamedTuple):
    """The folder of the cache, the number of its entries and their size."""

    folder: Path | None
    entries: int
    bytes: int


def folder() -> Path | None:
    """The folder of the entries; None if the cache is turned off."""
    if os.environ.get("COTAN_CACHE", "").strip().lower() in ("0", "off", "false", "no"):
        return None
    named = os.environ.get("COTAN_CACHE_DIR")
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / "cotan" / "cache" if base else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "cotan"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "cotan"


def most_bytes() -> int:
    """The bound of the size of all entries."""
    setting = os.environ.get("COTAN_CACHE_BYTES", "")
    return int(setting) if setting.isdecimal() else DEFAULT_BYTES


def ours(status: os.stat_result) -> bool:
    """Whether a file belongs to this user and nobody else can write to it."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def private_folder(make: bool = False) -> Path | None:
    """The folder, if it is there and private."""
    path = folder()
    if path is None:
        return None
    try:
        if make:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError:
        return None
    return path if stat.S_ISDIR(status.st_mode) and ours(status) else None


def signed(key: str, content: bytes) -> bytes:
    """The hash that an entry carries."""
    return hashlib.sha256(key.encode() + content).hexdigest().encode()


def load(key: str, kind: str = "o") -> bytes | None:
    """The entry of this key and kind, if it is there and whole."""
    path = private_folder()
    if path is None:
        return None
    try:
        with open(path / f"{key}.{kind}", "rb") as file:
            if not ours(os.fstat(file.fileno())):
                return None
            data = file.read()
        os.utime(path / f"{key}.{kind}")
    except OSError:
        return None
    head = len(MAGIC) + 65
    content = data[head:]
    return content if data[:head] == MAGIC + signed(key, content) + b"\n" else None


def store(key: str, content: bytes, kind: str = "o") -> None:
    """Keep an entry under its key."""
    global _unchecked
    path = private_folder(make=True)
    if path is None or len(content) > most_bytes() // 4:
        return
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=path, prefix="new-")
        with open(handle, "wb") as file:
            file.write(MAGIC + signed(key, content) + b"\n" + content)
        os.replace(name, path / f"{key}.{kind}")
    except OSError:
        discard(Path(name))
    _unchecked -= 1
    if _unchecked <= 0:
        _unchecked = max(STORES_BETWEEN, shrink(path) // SHARE_BETWEEN)


def discard(path: Path) -> None:
    """Remove a file that may be gone already."""
    try:
        path.unlink()
    except OSError:
        return


def entries(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of the cache."""
    with os.scandir(path) as files:
        for file in files:
            if file.name.endswith(KINDS) or file.name.startswith("new-"):
                try:
                    yield Path(file.path), file.stat(follow_symlinks=False)
                except OSError:
                    continue


def shrink(path: Path) -> int:
    """If the entries exceed the bound, remove the least recently used ones, until there is room for those before the next check. The
    number of entries that there were.
    """
    found = sorted(entries(path), key=lambda entry: entry[1].st_mtime)
    total = sum(status.st_size for _, status in found)
    kept = most_bytes() if total <= most_bytes() else most_bytes() * (SHARE_BETWEEN - 1) // SHARE_BETWEEN
    for file, status in found:
        if total <= kept:
            break
        discard(file)
        total -= status.st_size
    return len(found)


def contents() -> Contents:
    """The contents of the cache."""
    path = private_folder()
    sizes = [status.st_size for _, status in entries(path)] if path is not None else []
    return Contents(folder(), len(sizes), sum(sizes))


def clear() -> Contents:
    """Remove all entries; the contents before."""
    path, before = private_folder(), contents()
    if path is not None:
        for file, _ in list(entries(path)):
            discard(file)
    return before
