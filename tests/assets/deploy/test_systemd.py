"""Goal: the unit that the documents have people install is one that systemd takes, and stays as closed as it is.

Method: Debian's systemd-analyze over the file, with a program that is there in the place of ours; where there is none, the file is parsed. What it
starts is parsed by our own grammar.
"""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path

from sentinel.cli.main import build_parser
from tests.support.skips import require_binary

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "deploy/systemd/sentinel.service"
PROGRAM = "/opt/sentinel/bin/sentinel"
EXPOSURE_MAX = "20"
"""Tenths: what systemd calls OK ends at 5; a unit without any of it has 9.6."""


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as it says to be used
    parser.read_string(UNIT.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]
    return parser["Service"]


def test_what_it_starts_is_understood() -> None:
    settings = service()
    for name in ("ExecStart", "ExecStartPre"):
        program, *words = shlex.split(settings[name])
        assert program == PROGRAM
        args = build_parser().parse_args(words)
        assert str(args.config) == "/etc/sentinel/sentinel.yaml"
    assert build_parser().parse_args(shlex.split(settings["ExecStartPre"])[1:]).before_run
    # A backfill may take its time, and a drain too.
    assert settings["TimeoutStartSec"] == "20min"


def test_it_is_closed_and_bounded() -> None:
    settings = service()
    assert settings["DynamicUser"] == "yes"
    assert settings["StateDirectory"] == "sentinel"
    assert settings["ProtectSystem"] == "strict"
    assert settings["NoNewPrivileges"] == "yes"
    assert settings["CapabilityBoundingSet"] == ""
    assert settings["Restart"] == "always"
    assert settings["MemoryMax"] == "1G"
    # A secret is named, and never given: everybody may read units and the environment of their lines.
    assert "Environment" not in settings
    assert settings["EnvironmentFile"].startswith("-/")


def test_the_documents_name_what_the_unit_names() -> None:
    document = (ROOT / "docs/prometheus.md").read_text()
    section = document.partition("## Leave it running")[2].partition("\n## ")[0]
    for path in (
        "deploy/systemd/sentinel.service",
        "/etc/sentinel/sentinel.yaml",
        "/opt/sentinel",
    ):
        assert path in section
    [line] = re.findall(r"(?m)^# (LoadCredential=.*)$", UNIT.read_text())
    assert f"`{line}`" in section
    name = line.partition("=")[2].partition(":")[0]
    assert f"/run/credentials/sentinel.service/{name}" in section


def test_systemd_takes_it(tmp_path: Path) -> None:
    require_binary("systemd-analyze")
    unit = tmp_path / "sentinel.service"
    unit.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))
    verified = _analysed("verify", str(unit))
    # A setting that it does not know is only told of.
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    rated = _analysed("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit))  # fmt: skip
    assert rated.returncode == 0, rated.stdout
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHoem="))
    assert "ProtectHoem" in _analysed("verify", str(unit)).stderr


def _analysed(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
