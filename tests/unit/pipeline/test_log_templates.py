"""Goal: a file of templates that is no such file costs the names of series, never the start.

Method: the component alone over a file in a folder of the test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.core.series.templates import Templates
from sentinel.pipeline.log_templates import LogTemplates
from sentinel.runtime.component import HealthStatus
from tests.support.surroundings import make_surroundings


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format":1}', '{"format":1,"templates":7}', '{"format":1,"templates":[7]}'],
)
async def test_a_file_of_another_shape_is_left_out(tmp_path: Path, text: str) -> None:
    """Only what is no JSON was put up with; JSON of another shape ended the start."""
    (tmp_path / "log_templates.json").write_text(text)
    templates = Templates()
    component = LogTemplates(templates, str(tmp_path), make_surroundings())
    await component.start()
    assert component.health().status is HealthStatus.OK
    assert templates.count == 0
    await component.stop()


async def test_an_entry_that_makes_no_sense_costs_itself_and_is_counted(tmp_path: Path) -> None:
    rows = '["shop","it failed",1],["shop",7,1],["shop"],["shop","it ended",2]'
    (tmp_path / "log_templates.json").write_text(f'{{"format":1,"templates":[{rows}]}}')
    templates, surroundings = Templates(), make_surroundings()
    component = LogTemplates(templates, str(tmp_path), surroundings)
    await component.start()
    assert templates.count == 2
    await component.stop()
    metrics, own = surroundings.metrics, {"component": "pipeline.log_templates"}
    assert metrics.value("sentinel_component_received_total", **own, signal="templates") == 4
    assert metrics.value("sentinel_component_sent_total", **own, signal="templates") == 2
    assert metrics.value("sentinel_component_dropped_total", **own, reason="damaged") == 2


async def test_templates_that_cannot_be_written_are_lost_with_the_process_alone(
    tmp_path: Path,
) -> None:
    templates, surroundings = Templates(), make_surroundings()
    component = LogTemplates(templates, str(tmp_path / "gone"), surroundings)
    await component.start()
    templates.restore([("shop", "it failed", 1)])
    templates.is_changed = True
    await component._save()
    metrics, own = surroundings.metrics, {"component": "pipeline.log_templates"}
    dropped = "sentinel_component_dropped_total"
    assert component.health().status is HealthStatus.DEGRADED
    assert metrics.value(dropped, **own, reason="fault") == 0, "they are written the next time"
    await component.stop()
    assert metrics.value(dropped, **own, reason="fault") == 1
    errors = "sentinel_component_errors_total"
    assert metrics.value(errors, **own, stage="store", reason="fault") == 2
