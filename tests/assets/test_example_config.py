"""Goal: deploy/example.yaml runs as it stands, on loopback and without a secret, and says what the code does.

Method: it is loaded by the loader, validated by an independent JSON Schema implementation, and compared with the
defaults it claims to show.
"""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from sentinel.app.config import SentinelConfig, load_config
from sentinel.runtime.config.render import differences
from sentinel.runtime.config.schema import json_schema

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example.yaml"


def test_it_shows_the_defaults_but_for_what_it_says() -> None:
    loaded = load_config(EXAMPLE)
    found = [one.path for one in differences(SentinelConfig(), loaded.config)]
    assert found == ["store.directory"]
    assert "# Not the default" in EXAMPLE.read_text()


def test_what_a_page_can_link_is_shown() -> None:
    """Pages linked no runbook, and the setting that makes them was in no example."""
    assert 'runbooks_url: ""' in EXAMPLE.read_text()


@pytest.mark.parametrize("document", ["README.md", "docs/components/webhook.md"])
def test_a_webhook_is_added_as_the_documents_say(document: str, tmp_path: Path) -> None:
    """Nothing told how to get a page without Alertmanager."""
    text = (EXAMPLE.parents[1] / document).read_text()
    shown = re.search(r"`(webhooks: \[.*?\])`|(?ms:^```yaml\n(senders:.*?)^```$)", text)
    assert shown
    inline, block = shown.groups()
    path = tmp_path / "sentinel.yaml"
    path.write_text(block or EXAMPLE.read_text().replace("webhooks: []", inline))
    loaded = load_config(path)
    assert [one.name for one in loaded.config.senders.webhooks] == ["chat"]
    assert [str(one) for one in loaded.warnings if "nobody is paged" in str(one)] == []


def test_it_reads_no_secret() -> None:
    loaded = load_config(EXAMPLE)
    assert loaded.secret_files == ()
    assert [str(one) for one in loaded.warnings] == [
        "senders: no destination is given: incidents are recorded and shown, and nobody is paged"
    ]


def test_it_fits_the_schema_by_an_independent_validator() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(SentinelConfig, title="test"))
    document = yaml.safe_load(EXAMPLE.read_text())
    validator.validate(document)
    for place in ("", "receivers", "incidents", "web"):
        wrong = yaml.safe_load(EXAMPLE.read_text())
        (wrong[place] if place else wrong)["unknown_key"] = 1
        with pytest.raises(jsonschema.ValidationError, match="unknown_key"):
            validator.validate(wrong)


def test_every_section_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith((" ", "#")):
            assert lines[number - 1].startswith("# "), f"line {number + 1} has no comment: {line}"


def test_it_has_every_top_level_setting_a_newcomer_needs() -> None:
    shown = set(yaml.safe_load(EXAMPLE.read_text()))
    assert {"mode", "sensitivity", "zone", "receivers", "store", "senders", "web"} <= shown


def test_what_is_a_comment_works_when_its_marks_are_taken_off(tmp_path: Path) -> None:
    """Sections that are off by default stand there to be used, and nobody would have noticed a setting that was renamed."""
    text = EXAMPLE.read_text()
    wanted = ("scrapers", "forward", "self_telemetry")
    for name in wanted:
        assert f"\n# {name}:\n" in text
    blocks = re.findall(r"(?m)^# (?:scrapers|forward|self_telemetry):\n(?:#   .*\n)+", text)
    shown = "".join(re.sub(r"(?m)^# ", "", block) for block in blocks)
    path = tmp_path / "sentinel.yaml"
    path.write_text(shown)
    config = load_config(path).config
    assert sorted(yaml.safe_load(shown)) == sorted(wanted)
    scrapers = config.scrapers
    assert all(getattr(scrapers, kind) for kind in yaml.safe_load(shown)["scrapers"])
    assert config.forward.endpoints
    assert config.self_telemetry.is_asked_for
