"""Goal: the picture of the band tells what the live code decided, and nothing else.

Method: the judged sample, and the drawing read back as numbers.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from sentinel.app.docs.band import band_picture
from sentinel.app.docs.chart import Chart, Panel
from sentinel.app.docs.sample_band import sample_band

_SVG = "{http://www.w3.org/2000/svg}"


def test_a_score_of_one_is_the_edge_of_the_band() -> None:
    band = sample_band()
    outside = (band.value > band.upper) | (band.value < band.lower)
    np.testing.assert_array_equal(outside, band.score >= 1)


def test_both_faults_are_incidents_and_nothing_else_is() -> None:
    band = sample_band()
    a_day = 86_400 * 10**9 // band.step_ns
    assert [first // a_day for first, _ in band.incidents] == [2, 3]
    assert all(first < last for first, last in band.incidents)
    inside = np.ones(len(band.score), np.bool_)
    for first, last in band.incidents:
        inside[first:last] = False
    assert not (band.score[inside] >= 1).any()


def test_each_strange_window_has_its_dot() -> None:
    root = ElementTree.fromstring(band_picture())
    dots = [path for path in root.iter(f"{_SVG}path") if path.get("stroke-linecap") == "round"]
    assert len(dots) == 1
    assert len(re.findall(r"M", dots[0].attrib["d"])) == int((sample_band().score >= 1).sum())


def test_a_value_stands_where_its_scale_says() -> None:
    chart = Chart(title="<a>", width=172, count=2, label_every=1)
    panel = Panel(chart, top_px=10, height_px=100, low=0.0, high=10.0, unit="calls/s")
    panel.line(np.array([0.0, 5.0], np.float32), colour="#000000")
    assert '<polyline points="81,110 131,60"' in chart.text(height=120)
    assert "&lt;a&gt;" in chart.text(height=120)
