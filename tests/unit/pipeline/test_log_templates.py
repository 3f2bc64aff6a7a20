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
