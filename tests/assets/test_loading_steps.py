"""Goal: who types the steps by which rules and boards are loaded, in their order, has files with addresses of their own that are right.

Method: the commands of both documents are typed in a copy of the tree, with folders of the test in the place of the machine's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.skips import require_binary

ROOT = Path(__file__).parents[2]


def blocks(document: str, heading: str) -> list[str]:
    """The shell blocks below a heading, with their margin taken off."""
    text = (ROOT / document).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert text, (document, heading)
    found = re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", text)
    return [re.sub(r"(?m)^ +", "", block) for block in found]


def typed(text: str, folder: Path) -> None:
    program = f"{sys.executable} -m sentinel"
    text = text.replace("sudo ", "").replace("/etc/prometheus", f"{folder}/etc")
    text = re.sub(r"(?m)^sentinel ", f"{program} ", text)
    done = subprocess.run(
        ["sh", "-e", "-c", text], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_copied_made_ones_own_and_checked(tmp_path: Path) -> None:
    require_binary("promtool")
    for name in ("alert_rules", "docs/runbooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    before = {path: path.read_bytes() for path in (tmp_path / "alert_rules").iterdir()}
    loading, reload = blocks("docs/components/alert_rules.md", "Loading them")
    typed(loading, tmp_path)
    rules = [path.read_text() for path in (tmp_path / "etc/alert_rules").glob("*.yaml")]
    assert len(rules) == 3
    assert not re.search(r"runbook_url: docs/|_url: \"?d/", "".join(rules))
    assert "https://wiki.example/runbooks/" in rules[0]
    # The files as they came are as they were: a newer release is compared with them.
    assert {path: path.read_bytes() for path in before} == before
    order = ("cp alert_rules", "sed ", "promtool check rules", "sentinel check rules")
    places = [loading.index(one) for one in order]
    assert places == sorted(places)
    assert reload.index("promtool check config") < reload.index("reload prometheus")


def test_boards_are_copied_and_have_ones_own_addresses_before_grafana_gets_them(
    tmp_path: Path,
) -> None:
    shutil.copytree(
        ROOT / "dashboards", tmp_path / "dashboards", ignore=shutil.ignore_patterns("source")
    )
    [copying] = blocks("docs/components/dashboards.md", "Putting them in")
    typed(copying, tmp_path)
    boards = {path.name: path.read_text() for path in (tmp_path / "boards").glob("*.json")}
    assert boards.keys() == {path.name for path in (ROOT / "dashboards").glob("*.json")}
    assert all(json.loads(text) for text in boards.values())
    assert "https://wiki.example/runbooks" in "".join(boards.values())
    assert not re.search(r"https://runbooks\.example|127\.0\.0\.1:9640", "".join(boards.values()))
    text = (ROOT / "docs/components/dashboards.md").read_text()
    assert text.index("4. **Say where things are**") < text.index("5. **Provision** Grafana")
