"""The release as somebody gets it: built from the tree as git has it, and installed where nothing else of ours is.

Nothing is fetched: an environment is given the locked packages of this one, and pip resolves the wheel against them alone. Made
once a run, whichever worker asks first.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sentinel import __version__

ROOT = Path(__file__).parents[2]
MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
EPOCH = "1700000000"
WHEEL = f"sentinel_sidecar-{__version__}-py3-none-any.whl"
SDIST = f"sentinel_sidecar-{__version__}.tar.gz"


def listed() -> list[str]:
    """Files of the tree as git would have them, so that caches and data of a developer are no part of it."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def copy_tree(to: Path, *, seconds: int, rights: int) -> Path:
    """The tree with other times and rights of its files."""
    for name in listed():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        os.utime(target, (seconds, seconds))
        target.chmod(rights)
    return to


def build(tree: Path, *targets: str) -> None:
    """Build sdist or wheel into the folder `made` of a tree."""
    for target in targets:
        command = [sys.executable, "-m", "hatchling", "build", "--target", target]
        subprocess.run(
            [*command, "--directory", str(tree / "made")],
            cwd=tree, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip


def built_release(factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist."""

    def make(folder: Path) -> None:
        tree = copy_tree(folder / "tree", seconds=1_600_000_000, rights=0o644)
        build(tree, "sdist", "wheel")

    return _made_once(factory, "release", make) / "tree" / "made"


def bare_install(factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it needs, as `pip install WHEEL` gives it: no extra is in it."""
    wheel = built_release(factory) / WHEEL
    return _made_once(factory, "bare", lambda folder: _install(folder, wheel, _needed_by(wheel)))


def full_install(factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and all that `requirements/runtime.txt` locks, extras too: what the image has."""
    wheel = built_release(factory) / WHEEL
    lock = (ROOT / "requirements/runtime.txt").read_text()
    names = re.findall(r"(?m)^([a-z0-9._-]+)==", lock)
    return _made_once(factory, "full", lambda folder: _install(folder, wheel, names))


def sdist_install(factory: pytest.TempPathFactory) -> Path:
    """An environment with what `pip install SDIST` builds there, and nothing but what that needs."""
    release = built_release(factory)
    needed = [*_needed_by(release / WHEEL), *_with_theirs("hatchling")]
    return _made_once(
        factory,
        "sdist",
        # Without a connection pip cannot make an environment to build in: the backend is in this one.
        lambda folder: _install(folder, release / SDIST, needed, "--no-build-isolation"),
    )


def program(prefix: Path, name: str) -> str:
    """The path of an installed program."""
    return str(prefix / "bin" / name)


def surroundings(prefix: Path, home: Path) -> dict[str, str]:
    """What a shell there has: its programs and the system's, and nothing of this tree or its tests."""
    return {"PATH": f"{prefix / 'bin'}:/usr/bin:/bin", "HOME": str(home)}


def run_program(
    prefix: Path, *command: str, home: Path, timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """A command to its end, in a folder of its own."""
    return subprocess.run(
        [program(prefix, command[0]), *command[1:]], capture_output=True, text=True, timeout=timeout_s,
        check=False, cwd=home, env=surroundings(prefix, home), stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that whoever comes first makes, and others wait for; workers of a spread run share it."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / f"clean-{name}", shared / f"clean-{name}.done"
    with (shared / f"clean-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def _install(prefix: Path, release: Path, names: Iterable[str], *options: str) -> None:
    base = Path(sys.base_prefix) / "bin" / MINOR
    subprocess.run([base, "-m", "venv", "--without-pip", str(prefix)], timeout=60, check=True)
    packages = prefix / "lib" / MINOR / "site-packages"
    for name in names:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        for file in distribution.files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(file.locate())
    install = [sys.executable, "-m", "pip", "--python", program(prefix, "python"), "install"]
    install += ["--quiet", "--no-index", "--disable-pip-version-check", *options, str(release)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=120, check=False)
    # With its dependencies resolved: one that is not there is an error here.
    assert done.returncode == 0, done.stdout + done.stderr


def _needed_by(wheel: Path) -> list[str]:
    """The packages that a wheel asks for without an extra, and what those ask for."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        told = HeaderParser().parsestr(archive.read(name).decode())
    return _all_of(_applying(told.get_all("Requires-Dist", []), frozenset()))


def _with_theirs(name: str) -> list[str]:
    """A package and all that it asks for."""
    return _all_of([Requirement(name)])


def _all_of(asked: Iterable[Requirement]) -> list[str]:
    found: list[str] = []
    ahead = list(asked)
    seen: set[tuple[str, frozenset[str]]] = set()
    while ahead:
        requirement = ahead.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found.append(key[0])
        ahead += _applying(metadata.distribution(key[0]).requires or [], key[1])
    return list(dict.fromkeys(found))


def _applying(lines: Iterable[str], extras: frozenset[str]) -> Iterator[Requirement]:
    """Those that hold on this platform, with these extras."""
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        ):
            yield requirement
