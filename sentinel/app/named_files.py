"""Files that a configuration names and that are opened later, tried when it is read: a password at each connection.

What TLS needs is a fault (`tls_files`): without it the start fails. What is here may come later, as a secret that is
mounted does, so it is a warning; but whoever mistyped a path is told before the first connection fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from sentinel.errors import ConfigProblem
from sentinel.runtime.config.shapes import Scalar, setting_fields
from sentinel.runtime.config.sources import UnreadableFileError, read_file
from sentinel.runtime.config.text import Origin, join, shown
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.tls import TlsConfig

_NOT_SECRET = frozenset({"ca_file", "cert_file"})


def file_warnings(config: object, origins: Mapping[str, Origin]) -> list[ConfigProblem]:
    """A warning for each such file that cannot be read, or that is a secret and can be read by others.

    Args:
        config: the whole configuration.
        origins: where each value was written, by its dotted path.
    """
    found = []
    for path, file in _named(config, ""):
        message = _wrong_with(Path(file), is_secret=path.rpartition(".")[2] not in _NOT_SECRET)
        if message:
            message = f"the file {shown(file)} {message}"
            origin = origins.get(path)
            found.append(
                ConfigProblem(path=path, message=message)
                if origin is None
                else origin.problem(path, message)
            )
    return found


def _wrong_with(file: Path, *, is_secret: bool) -> str:
    """A clause in the words that secrets of the configuration have, "" for nothing."""
    try:
        if not read_file(file, limit_bytes=1):
            return "is empty"
        mode = file.stat().st_mode
    except UnreadableFileError as error:
        return str(error)
    except OSError:
        return "went away"
    return "can be read by others: chmod 600 it" if is_secret and mode & 0o077 else ""


def _named(value: object, path: str) -> Iterator[tuple[str, str]]:
    """The single files that settings name, with the path of the setting; lists of files are patterns."""
    if isinstance(value, ClientConfig | TlsConfig):
        return
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _named(item, f"{path}[{index}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for setting in setting_fields(type(value)):
            inner, where = getattr(value, setting.name), join(path, setting.name)
            if isinstance(setting.shape, Scalar) and setting.shape.type.is_file:
                if inner:
                    yield where, str(inner)
            else:
                yield from _named(inner, where)
