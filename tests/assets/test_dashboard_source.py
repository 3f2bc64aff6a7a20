"""Goal: the boards that are shipped are those that the code makes, and Grafana's own models read them back.

Method: the files against the code, byte for byte; each file through the models of Grafana's library and out again.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.__main__ import main
from dashboards.source.boards import texts
from sentinel.core.model import Exemplar, NamedCalls, Scope, SeriesKey
from sentinel.web.told import Told, told_lines
from tests.support.dashboards import BOARDS, FOLDER, Board

_PROVISIONING = FOLDER / "provisioning"


def test_the_files_are_what_the_code_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_file_that_was_changed_by_hand_is_missing_or_has_no_source_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in texts().items():
        (tmp_path / name).write_text(text)
    changed = tmp_path / "sentinel-nats.json"
    changed.write_text(changed.read_text().replace("Backlog", "backlog"))
    (tmp_path / "sentinel-fleet.json").unlink()
    (tmp_path / "mine.json").write_text("{}")
    assert main(["--check", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "sentinel-fleet.json differs: run make dashboards",
        "sentinel-nats.json differs: run make dashboards",
        "mine.json has no source",
    ]
    assert main(["--folder", str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == texts()


@pytest.mark.parametrize("board", BOARDS, ids=[board.path.stem for board in BOARDS])
def test_the_librarys_models_read_it_and_write_the_same(board: Board) -> None:
    register_default_plugins()
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(board.document)))
    expected = json.loads(board.path.read_text())
    # Grafana's Prometheus reads these of a mark, and the library's model does not have them.
    for mark in expected["annotations"]["list"]:
        for field in ("step", "tagKeys", "titleFormat", "textFormat", "useValueForTime"):
            del mark[field]
    assert written == expected


def test_addresses_are_put_into_the_files_as_the_document_says(tmp_path: Path) -> None:
    [command] = re.findall(
        r"(?m)^ *(sed -i .*)$", (FOLDER.parent / "docs/components/dashboards.md").read_text()
    )
    boards = tmp_path / "boards"
    boards.mkdir()
    for name, text in texts().items():
        (boards / name).write_text(text)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=20)
    for path in boards.iterdir():
        variables = json.loads(path.read_text())["templating"]["list"]
        written = {one["name"]: one for one in variables if one["type"] == "textbox"}
        assert written["runbooks"]["current"]["value"] == "https://wiki.example/runbooks"
        assert written["runbooks"]["query"] == "https://wiki.example/runbooks"
        if path.stem == "sentinel-incident":
            assert written["sentinel"]["query"] == "https://sentinel.example"


def test_the_boards_are_loaded_from_where_they_are_mounted() -> None:
    [provider] = yaml.safe_load((_PROVISIONING / "dashboards/sentinel.yaml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
    assert provider["options"]["path"].endswith("/dashboards/sentinel")
    # Both keys together are refused by Grafana.
    assert not provider["options"]["foldersFromFilesStructure"]
    assert provider["folder"] == "Sentinel"


def test_an_exemplar_leads_to_its_trace() -> None:
    """The name in the data source is that of the exemplar's label, or no click leads anywhere."""
    text = (_PROVISIONING / "datasources/sentinel.yaml").read_text()
    sources = {one["type"]: one for one in yaml.safe_load(text)["datasources"]}
    assert set(sources) == {"prometheus", "tempo", "alertmanager"}
    [destination] = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["datasourceUid"] == sources["tempo"]["uid"]
    place = Scope("ledger-edge", "edge", "all")
    call = Exemplar(
        trace_id="ab" * 16,
        key=SeriesKey(*place, "latency"),
        time_ns=10**18,
        duration_s=1.0,
        error=False,
    )
    told = Told(calls={(place, False): NamedCalls(count=1, newest=call)})
    page = b"".join(told_lines(told, [place], openmetrics=True)).decode()
    assert f"# {{{destination['name']}=" in page
    assert sources["alertmanager"]["jsonData"]["implementation"] == "prometheus"
    # Addresses are the place's own.
    assert all(re.fullmatch(r"\$\{\w+_URL\}", one["url"]) for one in sources.values())
    assert len({one["uid"] for one in sources.values()}) == len(sources)
