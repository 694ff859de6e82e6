"""Advisory file locks (`flock`): the kernel frees them when their process dies, however it dies.

A lock file that others may wait on is never deleted. A worker's own lock file has a name that is used once; it is
deleted only by its holder, or by someone who holds the store's lock and found it free.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from medproof.errors import UserError
from medproof.runs.atomic import disk_errors


def _flock(descriptor: int, operation: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise UserError(f"the file system of {path} has no file locks: choose an --out on a local disk") from error
        raise


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of `path` alone, waiting for it; the file is made where absent and stays."""
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _flock(descriptor, fcntl.LOCK_EX, path)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock of `path` together with other readers. Where the file is absent there is no writer to wait for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        yield
        return
    try:
        _flock(descriptor, fcntl.LOCK_SH, path)
        yield
    finally:
        os.close(descriptor)


class LifeLock:
    """A lock file that says "this worker lives" while it is held. Make and release it under the store's lock."""

    def __init__(self, path: Path) -> None:
        """Make `path`, which must not exist, and hold it."""
        self.path = path
        with disk_errors(path):
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _flock(self._descriptor, fcntl.LOCK_EX, path)

    def release(self) -> None:
        """Delete the file, then free it. Doing so twice is harmless."""
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether some process holds the lock of `path`. Call it under the store's lock, as `LifeLock` is made under it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
