"""Where an authority is kept: a Secret that all replicas share, or a folder; and the files the webhook is served from.

Files change by a switched link, as Kubernetes changes mounted ones: whoever follows them never sees the certificate of one
pair with the key of another.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sentinel.admission.certificates.issue import KeyMaterial
from sentinel.admission.cluster import Cluster, decoded
from sentinel.errors import RefusedError, RetryableError

_FILES = {
    "authorities": "ca.crt",
    "authority_key": "ca.key",
    "certificate": "tls.crt",
    "key": "tls.key",
}
_CURRENT = "current"
_PREFIX = "pair-"
_NOT_FOUND, _CONFLICT = 404, 409


class TakenError(RetryableError):
    """Somebody else wrote what was read, meanwhile: read it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a keeping place holds.

    Attributes:
        material: all of it, or None where a part is missing.
        mark: what a later write says it replaces.
    """

    material: KeyMaterial | None
    mark: dict[str, Any] | None = None


class KeepingPlace(Protocol):
    """Where key material outlives the process."""

    async def read(self) -> Kept:
        """What is there now; RetryableError or RefusedError when it cannot be asked."""
        ...

    async def write(self, material: KeyMaterial, before: Kept) -> None:
        """Replace what was read; TakenError when somebody else was quicker, else as `read`."""
        ...


class SecretPlace:
    """A Secret of the injector's namespace; the API server refuses the slower of two replicas."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._name = name

    async def read(self) -> Kept:
        """What the Secret holds; nothing where there is none."""
        async with self._cluster.session() as session:
            try:
                secret = await session.get(f"{self._path}/{self._name}")
            except RefusedError as error:
                if error.status != _NOT_FOUND:
                    raise
                return Kept(material=None)
        return Kept(material=_material_of(secret.get("data")), mark=secret)

    async def write(self, material: KeyMaterial, before: Kept) -> None:
        """Make the Secret, or replace the one that was read."""
        data = {
            file: base64.b64encode(getattr(material, part)).decode("ascii")
            for part, file in _FILES.items()
        }
        try:
            async with self._cluster.session() as session:
                if before.mark is None:
                    made = {
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "type": "Opaque",
                        "metadata": {
                            "name": self._name,
                            "labels": {"app.kubernetes.io/managed-by": "sentinel-admission"},
                        },
                        "data": data,
                    }
                    decoded(await session.ask("POST", self._path, content=made))
                    return
                # With its resourceVersion, so that only what was read is replaced; other keys of it stay.
                held = before.mark.get("data")
                changed = {
                    **before.mark,
                    "data": {**(held if isinstance(held, dict) else {}), **data},
                }
                decoded(await session.ask("PUT", f"{self._path}/{self._name}", content=changed))
        except RefusedError as error:
            if error.status != _CONFLICT:
                raise
            msg = "another replica wrote the Secret meanwhile"
            raise TakenError(msg) from None


class FolderPlace:
    """A folder of this process's own; for one replica."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self) -> Kept:
        """What the folder holds."""
        found = {}
        for part, file in _FILES.items():
            try:
                found[part] = (self._folder / _CURRENT / file).read_bytes()
            except OSError:
                return Kept(material=None)
        return Kept(material=KeyMaterial(**found))

    async def write(self, material: KeyMaterial, before: Kept) -> None:  # noqa: ARG002  # nobody else writes
        """Put it there, all at once."""
        switch_files(
            self._folder, {file: getattr(material, part) for part, file in _FILES.items()}
        )


def put_in_service(folder: Path, material: KeyMaterial) -> bool:
    """Have the files of a folder be the certificate and its key; True when they were not. The authority's key stays out."""
    wanted = {_FILES["certificate"]: material.certificate, _FILES["key"]: material.key}
    with contextlib.suppress(OSError):
        if all((folder / _CURRENT / file).read_bytes() == data for file, data in wanted.items()):
            return False
    wanted[_FILES["authorities"]] = material.authorities
    switch_files(folder, wanted)
    return True


def serving_files(folder: Path) -> tuple[Path, Path]:
    """Certificate and key that are served from a folder; there is a pair once one was put in service."""
    current = folder / _CURRENT
    return current / _FILES["certificate"], current / _FILES["key"]


def switch_files(folder: Path, files: dict[str, bytes]) -> None:
    """Replace all files of the folder at once, readable by this user only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        for name, data in files.items():
            descriptor = os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        link = folder / f"{made.name}.link"
        link.symlink_to(made.name)
        link.replace(folder / _CURRENT)
    except OSError:
        # On a full disk each try would take a little more of it.
        current = folder / _CURRENT
        _clear(folder, but=current.readlink().name if current.is_symlink() else "")
        raise
    _clear(folder, but=made.name)


def _clear(folder: Path, *, but: str) -> None:
    """Take away what is not in use: the pair of before, and what a process left that ended while it wrote."""
    for old in folder.glob(f"{_PREFIX}*"):
        if old.name == but:
            continue
        if old.is_symlink():
            old.unlink(missing_ok=True)
        else:
            shutil.rmtree(old, ignore_errors=True)


def _material_of(data: object) -> KeyMaterial | None:
    if not isinstance(data, dict):
        return None
    found = {}
    for part, file in _FILES.items():
        text = data.get(file)
        if not isinstance(text, str) or not text:
            return None
        try:
            found[part] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
    return KeyMaterial(**found)
