"""The benchmark of forecasts: its series are what they say, its figures can tell good from bad.

Method: a few series, and answers made up for them.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.forecast.__main__ import coverage, main, smape
from benchmarks.forecast.methods import SPREAD_DAYS, Foretold
from benchmarks.forecast.synthetic import MINUTES_A_DAY, synthetic

pytestmark = pytest.mark.timeout(60)


def test_what_is_seen_lies_round_the_truth_and_jobs_are_part_of_it() -> None:
    made = synthetic(6, days=15, seed=1, jobs=True)
    again = synthetic(6, days=15, seed=1, jobs=True)
    np.testing.assert_array_equal(made.seen, again.seen)
    assert (made.seen >= 0).all()
    assert (made.seen == np.round(made.seen)).all()
    calm = ~made.disturbed
    assert 0 < made.disturbed.mean() < 0.05
    np.testing.assert_allclose(
        made.seen.sum(axis=0, where=calm), made.mean.sum(axis=0, where=calm), rtol=0.02
    )
    plain = synthetic(6, days=15, seed=1, jobs=False)
    ratio = made.mean / plain.mean
    of_day = np.arange(len(ratio)) % MINUTES_A_DAY
    assert np.allclose(ratio[of_day == 130], 3.0)
    assert np.allclose(ratio[of_day == 301], 1.5)
    assert np.allclose(ratio[of_day == 310], 1.0)


def test_the_truth_is_best_and_covered_and_a_wrong_answer_is_neither() -> None:
    made = synthetic(6, days=9, seed=2, jobs=False)
    cut = 8 * MINUTES_A_DAY
    history, day, calm = made.seen[:cut], made.seen[cut:], ~made.disturbed[cut:]
    before = made.mean[cut - SPREAD_DAYS * MINUTES_A_DAY : cut]
    truth = Foretold(before=before, day=made.mean[cut:], ms_per_series=0.0)
    wrong = Foretold(before=before, day=1.5 * made.mean[cut:], ms_per_series=0.0)
    assert smape(day, truth.day, calm) < smape(day, wrong.day, calm) - 20
    assert coverage(truth, history, day, calm) > 98
    assert coverage(wrong, history, day, calm) < 50


def test_the_curve_is_nearer_to_the_truth_than_the_profile_also_on_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--series", "8", "--mstl-series", "0"])
    lines = capsys.readouterr().out.splitlines()
    over = [float(line.split()[-3]) for line in lines if line.startswith("  fourier  ")]
    assert len(over) == 2
    assert max(over) < 0.5
    others = [float(line.split()[-3]) for line in lines if line.startswith("  profile  ")]
    assert min(others) > 1.0
