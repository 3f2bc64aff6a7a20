"""What a sidecar needs of the machine it runs on: its ports, its store's folder, room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path

from sentinel.errors import StoreError, StoreLockedError
from sentinel.runtime.listen import ListenConfig, bind_address
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.connection import DirectoryLock

_ROOM_BYTES_MIN = 64 * 2**20
_PROBE_BYTES = 4096


def port_reach(path: str, listen: ListenConfig, *, is_running: bool) -> Reach:
    """Whether an address can be listened on; while the sidecar runs it is the one who does."""
    what = path.removesuffix(".listen")
    address = bind_address(listen.address)
    place = f"{f'[{address}]' if ':' in address else address}:{listen.port}"
    if not listen.port:
        return Reach(what=what, status=ReachStatus.OK, sentence="takes a free port")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        # As the server does: what is left of connections of before is no hindrance.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, listen.port))
        except OSError as error:
            return _not_bound(what, path, place, error, is_running=is_running)
    if is_running:
        return Reach(
            what=what,
            status=ReachStatus.FAILING,
            sentence=f"nobody listens on {place}, though the sidecar runs",
            remedy="Restart it: it was started with another configuration, or this part failed.",
        )
    return Reach(what=what, status=ReachStatus.OK, sentence=f"{place} is free")


def _not_bound(what: str, path: str, place: str, error: OSError, *, is_running: bool) -> Reach:
    if error.errno == errno.EADDRINUSE:
        if is_running:
            return Reach(what=what, status=ReachStatus.OK, sentence=f"{place} is listened on")
        return Reach(
            what=what,
            status=ReachStatus.FAILING,
            sentence=f"{place} is taken by another program",
            remedy=f"End that program, or set {path}.port to another port.",
        )
    remedy = f"Set {path}.address to an address of this machine."
    if error.errno == errno.EACCES:
        remedy = f"Set {path}.port to one above 1023."
    return Reach(
        what=what,
        status=ReachStatus.FAILING,
        sentence=f"{place} cannot be listened on: {os.strerror(error.errno or 0).lower()}",
        remedy=remedy,
    )


def store_reach(config: StoreConfig, *, is_running: bool) -> tuple[Reach, ...]:
    """Whether the store's folder can be used, and whether there is room for it; leaves nothing behind."""
    folder = Path(config.directory)
    held = folder if folder.exists() else _nearest(folder)
    problem, remedy = _written(held)
    if problem:
        return (Reach(what="store", status=ReachStatus.FAILING, sentence=problem, remedy=remedy),)
    if held != folder:
        found = Reach(
            what="store",
            status=ReachStatus.OK,
            sentence=f"{folder} is made at the start, in {held}",
        )
    else:
        found = _locked(folder, is_running=is_running)
    return found, _room(held, folder, config)


def _nearest(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next((one for one in folder.absolute().parents if one.exists()), Path("/"))


def _written(folder: Path) -> tuple[str, str]:
    """Why nothing can be written there, and what to do about it; "" when it can."""
    mend = "Give the sidecar's user a folder of its own: store.directory."
    if not folder.is_dir():
        return f"{folder} is not a folder", mend
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk of {folder} is full", "Make room, or choose another store.directory."
        return f"{folder} cannot be written: {os.strerror(error.errno or 0).lower()}", mend
    return "", ""


def _locked(folder: Path, *, is_running: bool) -> Reach:
    lock = DirectoryLock(folder)
    try:
        lock.acquire()
    except StoreLockedError:
        if is_running:
            return Reach(
                what="store", status=ReachStatus.OK, sentence=f"{folder} is used by the sidecar"
            )
        return Reach(
            what="store",
            status=ReachStatus.FAILING,
            sentence=f"{folder} is used by another process",
            remedy="End the sidecar that uses it, or choose another store.directory.",
        )
    except StoreError as error:
        return Reach(what="store", status=ReachStatus.FAILING, sentence=str(error))
    finally:
        lock.release()
    return Reach(what="store", status=ReachStatus.OK, sentence=f"{folder} can be written")


def _room(held: Path, folder: Path, config: StoreConfig) -> Reach:
    free_bytes = shutil.disk_usage(held).free
    used_bytes = sum(one.stat().st_size for one in folder.glob("*") if one.is_file())
    needed_bytes = max(0, config.max_bytes - used_bytes)
    told = f"{free_bytes / 2**20:,.0f} MiB are free, the store may grow by {needed_bytes / 2**20:,.0f} MiB"
    if free_bytes >= needed_bytes:
        return Reach(what="store.disk", status=ReachStatus.OK, sentence=told)
    is_little = free_bytes < min(_ROOM_BYTES_MIN, needed_bytes)
    return Reach(
        what="store.disk",
        status=ReachStatus.FAILING if is_little else ReachStatus.DEGRADED,
        sentence=told,
        remedy="Make room, or set store.max_bytes lower: the oldest windows go first then.",
    )
