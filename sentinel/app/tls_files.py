"""The files that TLS is configured with, tried when the configuration is: start, reload and `check config` alike.

Without this a missing authority is found when the first page is to go out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from sentinel.errors import ConfigError, ConfigProblem
from sentinel.runtime.config.text import Origin, join
from sentinel.runtime.http.client import ClientConfig, client_context
from sentinel.runtime.tls import TlsConfig, server_context
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.postgres.session import tls_context


def tls_problems(config: object, origins: Mapping[str, Origin]) -> list[ConfigProblem]:
    """A problem for each section whose certificates, keys or authorities cannot be loaded.

    Args:
        config: the whole configuration.
        origins: where each value was written, by its dotted path.
    """
    problems = []
    for path, section in _tls_sections(config, ""):
        try:
            if isinstance(section, TlsConfig):
                server_context(section)
            elif isinstance(section, PostgresTargetConfig):
                tls_context(section)
            else:
                client_context(section)
        except ConfigError as error:
            for problem in error.problems:
                where = join(path, problem.path)
                origin = origins.get(where)
                problems.append(
                    ConfigProblem(path=where, message=problem.message)
                    if origin is None
                    else origin.problem(where, problem.message)
                )
    return problems


def _tls_sections(
    value: object, path: str
) -> Iterator[tuple[str, ClientConfig | TlsConfig | PostgresTargetConfig]]:
    if isinstance(value, ClientConfig | TlsConfig | PostgresTargetConfig):
        yield path, value
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _tls_sections(item, f"{path}[{index}]")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _tls_sections(getattr(value, field.name), join(path, field.name))
