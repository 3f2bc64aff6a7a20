"""Goal: a file that is opened at a connection and is not there is told when the configuration is checked.

Method: configurations that name files which are there, are not, are empty, or are open to others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.errors import ConfigError, ConfigProblem

TEXT = """mode: shadow
scrapers:
  postgres:
    - name: main
      password_file: {postgres}
  nats:
    - name: main
      urls: [http://127.0.0.1:8222]
      advisories: {{urls: ["nats://127.0.0.1:4222"], credentials_file: {nats}}}
"""


def warned(folder: Path, *, postgres: str, nats: str) -> list[ConfigProblem]:
    file = folder / "sentinel.yaml"
    file.write_text(TEXT.format(postgres=postgres, nats=nats))
    return list(load_config(file).warnings)


def test_a_password_that_is_not_there_is_told_with_its_setting_and_line(tmp_path: Path) -> None:
    """`check config` said that all is right; the first poll could not read the password."""
    found = warned(tmp_path, postgres="/nope/password", nats="/nope/own.creds")
    reason = "cannot be read: no such file or directory"
    assert {one.path: (one.line, one.message) for one in found} == {
        "scrapers.postgres[0].password_file": (5, f"the file '/nope/password' {reason}"),
        "scrapers.nats[0].advisories.credentials_file": (
            9,
            f"the file '/nope/own.creds' {reason}",
        ),
    }


def test_a_secret_that_is_empty_or_open_is_told_and_one_that_is_well_is_not(
    tmp_path: Path,
) -> None:
    well, empty, shared = (tmp_path / name for name in ("well", "empty", "shared"))
    for file, text in ((well, "geheim"), (empty, ""), (shared, "geheim")):
        file.write_text(text)
        file.chmod(0o600)
    shared.chmod(0o644)
    # A relative path is beside the file that names it.
    assert warned(tmp_path, postgres="well", nats=str(well)) == []
    first, second = warned(tmp_path, postgres=str(empty), nats=str(shared))
    assert (first.line, first.message.rpartition("' ")[2]) == (5, "is empty")
    assert (second.line, second.message.rpartition("' ")[2]) == (
        9,
        "can be read by others: chmod 600 it",
    )


def test_an_authority_of_a_database_that_is_not_there_is_a_fault_for_the_start_fails(
    tmp_path: Path,
) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(
        "scrapers:\n  postgres:\n    - tls: verify-ca\n      ca_file: /nope/authority.pem\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("scrapers.postgres[0].ca_file", 4)
    assert "/nope/authority.pem" in problem.message
