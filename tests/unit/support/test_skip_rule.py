"""Goal: a run with CI=true cannot pass over a hidden skip or a forgotten process.

Method: the rule's pure part by values; the whole of it by a small run of pytest in a child, with the same
conftest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import ROOT_IGNORES_PERMISSIONS, forbidden_skips, in_ci, require_binary

ROOT = Path(__file__).parents[3]


def test_only_listed_reasons_pass() -> None:
    assert forbidden_skips({"a": f"Skipped: {ROOT_IGNORES_PERMISSIONS}"}) == []
    assert forbidden_skips({"b": "Skipped: prometheus is not installed", "a": "no time"}) == [
        "a: no time",
        "b: Skipped: prometheus is not installed",
    ]


def test_ci_is_said_by_the_environment() -> None:
    assert in_ci({"CI": "true"})
    assert not in_ci({"CI": ""})
    assert not in_ci({})


def test_an_absent_program_skips() -> None:
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require_binary("no-such-program")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spread", [(), ("-n", "2")], ids=["alone", "spread"])
@pytest.mark.parametrize(
    ("body", "ci", "complaint"),
    [
        ("import pytest\ndef test_it(): pytest.skip('x is not installed')\n", "true", "x is not"),
        ("import pytest\ndef test_it(): pytest.skip('x is not installed')\n", "", ""),
        ("import pytest\npytest.skip('x', allow_module_level=True)\n", "true", "skipped with CI"),
        (
            "import subprocess\nkept = []\ndef test_it():\n"
            "    kept.append(subprocess.Popen(['sleep', '20']))\n",
            "",
            "left running",
        ),
        ("def test_it(): pass\n", "true", ""),
    ],
)
def test_the_run_fails_and_says_why(
    tmp_path: Path, body: str, ci: str, complaint: str, spread: tuple[str, ...]
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_case.py").write_text(body)
    run = subprocess.run(  # arguments of this test
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull),
            *("--rootdir", str(tmp_path), *spread, str(tmp_path)),
        ],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    try:
        if complaint:
            assert run.returncode != 0, run.stdout
            assert complaint in run.stdout
        else:
            assert run.returncode == 0, run.stdout
    finally:
        for line in run.stdout.splitlines():
            if "left running: pid " in line:
                subprocess.run(["kill", line.split("pid ")[1].split()[0]], check=False)
