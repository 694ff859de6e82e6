"""Files appear whole or not at all: temporary file in the same folder, fsync, rename.

A full disk becomes a `UserError` wherever it shows: at open, write, fsync or rename.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from medproof.errors import UserError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
TEMPORARY_SUFFIX = ".tmp"


def is_disk_full(error: BaseException) -> bool:
    """True for "no space left on device" and "disk quota exceeded"."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only one and a forbidden path into one line for a person."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise UserError(
                f"disk full while writing {path}: nothing already written is lost; "
                "free space and run the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"cannot write {path}: {error.strerror}; choose a folder you may write to") from error
        raise


def temporary_name(path: Path, tag: str) -> Path:
    """Where `path` is written before it is renamed: a hidden file beside it that names its writer."""
    return path.with_name(f".{path.name}.{tag}{TEMPORARY_SUFFIX}")


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; `os.write` may stop short."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_bytes(path: Path, data: bytes, *, tag: str | None = None, sync_folder: bool = True) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, whatever happens in between.

    `tag` names the writer in the temporary file's name (default: a fresh one). With `sync_folder` False the caller
    syncs the folder itself, once for many files. Raises UserError on a full disk, and removes the temporary file.
    """
    temporary = temporary_name(path, tag or f"{os.getpid()}-{secrets.token_hex(4)}")
    with disk_errors(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        if sync_folder:
            fsync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode())


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` durable. File systems that cannot sync a folder are left as they are."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
