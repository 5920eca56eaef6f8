"""What a download needs and torchvision leaves out: an end to waiting, and a plain sentence when it fails."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

TIMEOUT_SECONDS = 30.0
# what a refused, stalled, cut-short or damaged download raises in torchvision and torch.hub
DOWNLOAD_ERRORS = (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException)


@contextlib.contextmanager
def no_endless_wait(seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Let every new connection inside the block give up after `seconds` of silence, then restore the old setting.

    torchvision and torch.hub open connections without a timeout: a server that stops talking would hang the notebook.

    >>> with no_endless_wait(5):
    ...     socket.getdefaulttimeout()
    5.0
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def why_download_failed(error: BaseException) -> str:
    """Return in plain words what an exception raised during a download means.

    >>> why_download_failed(TimeoutError("timed out"))
    'the server stopped answering'
    """
    if isinstance(error, urllib.error.HTTPError):
        return f"the server refused (HTTP {error.code})"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return why_download_failed(error.reason)
    if isinstance(error, TimeoutError):
        return "the server stopped answering"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return f"the folder cannot be written to ({error.filename})"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | ConnectionAbortedError):
        return "the server closed the connection"
    if isinstance(error, (urllib.error.URLError, socket.gaierror, ConnectionError)):
        return "no connection to the server"
    if isinstance(error, (RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException)):
        return "the file arrived cut short or damaged"  # a wrong checksum is a RuntimeError in both libraries
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def folder_for_download(final: Path) -> Iterator[Path]:
    """Give a temporary folder beside `final`; move what lies in it under `final.name` to `final` on success.

    Whatever goes wrong, an interrupt included, the temporary folder is removed: `final` is complete or not there.

    >>> place = Path(tempfile.mkdtemp()) / "set"
    >>> with folder_for_download(place) as folder:
    ...     (folder / "set").mkdir()
    >>> place.is_dir(), len(list(place.parent.iterdir()))
    (True, 1)
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{final.name}.incomplete-"
    for leftover in final.parent.glob(f"{mark}*"):  # of a process that was killed; a younger one may still be at work
        if time.time() - leftover.stat().st_mtime > 24 * 3600:
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=mark, dir=final.parent))
    try:
        yield temporary
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary / final.name, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
