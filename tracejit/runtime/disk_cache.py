"""Object code on disk: small index files, one a kernel, that name the object file which holds it.

Files are written to a temporary name and moved into place, so readers see whole files or none; an object file is named
by the hash of its content, which is checked when it is read.  A damaged entry is reported, dropped and compiled anew.
The directory is `$TRACEJIT_CACHE_DIR`, else `$XDG_CACHE_HOME/tracejit`, else `~/.cache/tracejit`; where that cannot be
written to, a private one among the temporary files.  It is kept below a limit by dropping what was not used longest.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from tracejit.records import dataclass

LIMIT = 512 << 20
"""Bytes that the directory may hold."""

_NAME = re.compile(r"[0-9a-f]{64}\Z")


class CacheWarning(UserWarning):
    """Something is wrong with the kernels on disk; they are compiled anew."""


@dataclass(frozen=True)
class CacheInfo:
    """What `tracejit cache info` shows."""

    directory: Path
    kernels: int
    objects: int
    bytes: int


class DiskCache:
    """Kernels on disk; `directory` None means the user's."""

    def __init__(self, directory: Path | None = None, limit: int = LIMIT) -> None:
        self._wanted = directory
        self._limit = limit
        self._written = limit  # the first write looks at what is there

    @cached_property
    def directory(self) -> Path | None:
        """Where files are kept; None if nothing can be written anywhere."""
        for candidate in [self._wanted or _user_directory(), _private_temporary_directory()]:
            if candidate is not None and _writable(candidate):
                return candidate
        return None

    def kept(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What is kept under a key that stands for itself alone; made, and kept from then on, where nothing is."""
        name = self.object_name(key)
        data = None if name is None else self.read_object(name)
        if data is None:
            data = make()
            self.write([key], data)
        return data

    # ---- reading

    def object_name(self, key: str) -> str | None:
        """The name of the object file with the kernel of that key."""
        if self.directory is None:
            return None
        path = self._index(key)
        try:
            name = path.read_text("ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            name = ""
        if not _NAME.match(name):
            self._damaged(path)
            return None
        _touch(path)
        return name

    def read_object(self, name: str) -> bytes | None:
        """An object file's content, if it is there and is what it was."""
        if self.directory is None:
            return None
        path = self._object(name)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if _digest(data) != name:
            self._damaged(path)
            return None
        _touch(path)
        return data

    # ---- writing

    def write(self, keys: Sequence[str], data: bytes) -> str:
        """Keep object code that holds the kernels of `keys`; returns its name."""
        name = _digest(data)
        if self.directory is None:
            return name
        try:
            self._write_file(self._object(name), data)
            for key in keys:
                self._write_file(self._index(key), name.encode())
            self._written += len(data)
            if self._written > self._limit // 64:  # listing the directory for every kernel would cost too much
                self._written = 0
                self._trim()
        except OSError as error:
            warnings.warn(f"cannot keep kernels in {self.directory}: {error}", CacheWarning, stacklevel=2)
        return name

    def clear(self) -> int:
        """Delete every file; returns how many."""
        files = self._files()
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)

    def info(self) -> CacheInfo:
        """Count and size of the files."""
        files = self._files()
        size = sum(_status(path)[1] for path in files)
        kernels = sum(path.suffix == ".kernel" for path in files)
        objects = sum(path.suffix == ".o" for path in files)
        return CacheInfo(self.directory or Path(), kernels, objects, size)

    # ---- files

    def _index(self, key: str) -> Path:
        assert self.directory is not None
        return self.directory / f"{key}.kernel"

    def _object(self, name: str) -> Path:
        assert self.directory is not None
        return self.directory / f"{name}.o"

    def _files(self) -> list[Path]:
        if self.directory is None:
            return []
        return [path for path in self.directory.iterdir() if path.suffix in (".kernel", ".o", ".part")]

    def _write_file(self, path: Path, data: bytes) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _damaged(self, path: Path) -> None:
        warnings.warn(f"{path} is damaged; the kernel is compiled anew", CacheWarning, stacklevel=4)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def _trim(self) -> None:
        """Drop the files that were not used longest until three quarters of the limit are left."""
        files = sorted((*_status(path), path) for path in self._files())
        size = sum(file_size for _, file_size, _ in files)
        if size <= self._limit:
            return
        for _, file_size, path in files:
            if size <= self._limit * 3 // 4:
                break
            path.unlink(missing_ok=True)
            size -= file_size


def key_of(description: str) -> str:
    """The key of what a text describes."""
    return _digest(description.encode())[:40]


def _digest(data: bytes) -> str:
    """The name of an object file."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _touch(path: Path) -> None:
    """Used now: the last to be dropped."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _status(path: Path) -> tuple[float, int]:
    """Time of last use and size; zeros for a file that another process has just deleted."""
    try:
        status = path.stat()
    except OSError:
        return 0.0, 0
    return status.st_mtime, status.st_size


def _user_directory() -> Path | None:
    if chosen := os.environ.get("TRACEJIT_CACHE_DIR"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "tracejit"
    try:
        return Path.home() / ".cache" / "tracejit"
    except RuntimeError:
        return None


def _private_temporary_directory() -> Path | None:
    """A directory that no other user can put code into."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(tempfile.gettempdir()) / f"tracejit-{user}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077 == 0
    return path if private and (not hasattr(os, "getuid") or status.st_uid == user) else None


def _writable(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)
