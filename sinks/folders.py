"""A folder that a sink writes to, and the one border where the operating system's errors become ours."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote

from sinks.errors import SinkError, SinkMisconfigured, SinkUnavailable

_NEVER = {
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ELOOP: "its symbolic links go round in a circle",
}
_NOW = {
    errno.ENOSPC: ("no space left", "free space there; delivery then goes on from the last offset"),
    errno.EDQUOT: ("the disk quota is used up", "raise the quota or free space; delivery then goes on by itself"),
    errno.EROFS: ("the file system is read-only", "mount it writable, and look for disk errors in the system's log"),
    errno.ENOENT: ("it was removed or moved while in use", "put it back, or let the next attempt make it anew"),
    errno.EAGAIN: (
        "another process is writing the same file",
        "let one runner of the connector go on; it is tried again",
    ),
    errno.EMFILE: ("too many open files", "raise the limit on open files (ulimit -n) above the number of tables"),
}


def folder_name(topic: str) -> str:
    """The topic itself, for a legal one; anything else is percent-encoded, so that no two topics share a folder."""
    name = quote(topic, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def prepare(directory: Path) -> None:
    """Make it where it is absent, and see that files can be made there. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    sync_folder(directory.parent)
    _try(directory)


def try_folder(directory: Path) -> Path:
    """The folder that is there, itself or the one that it will be made in. Raises OSError where `prepare` would."""
    folder = directory.absolute()
    while not folder.exists():
        folder = folder.parent
    _try(folder)
    return folder


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def reported(directory: Path, key: str) -> Iterator[None]:
    """OSError as SinkError. `key` is where a connector file names `directory`."""
    try:
        yield
    except OSError as error:
        raise _sink_error(directory, key, error) from error


def _try(folder: Path) -> None:
    """It names the folder, not the file."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def _sink_error(directory: Path, key: str, error: OSError) -> SinkError:
    code = error.errno or 0
    place = error.filename or directory
    if code in _NEVER:
        return SinkMisconfigured(
            f"events cannot be written to {place}: {_NEVER[code]}",
            f"set {key} to a folder that the user of this process may write to",
        )
    cause, hint = _NOW.get(code, (os.strerror(code), "look for the cause in the system's log; it is tried again"))
    return SinkUnavailable(f"events cannot be written to {place}: {cause}", hint)
