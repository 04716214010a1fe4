"""The teacher's log: what moved after it, and that its truth is that of its clicks."""

import numpy as np
import pytest

from benchmarks.distillation import DAY, START, TAUGHT, click_log, is_taught


def test_items_move_after_the_teachers_days():
    table = click_log(400_000, 1).to_pydict()
    at, item, truth, click = (np.array(table[n]) for n in ("at", "item", "truth", "click"))
    assert click.mean() == pytest.approx(truth.mean(), abs=0.003)
    before = is_taught(at)
    assert before.mean() == pytest.approx(0.6, abs=0.01)
    assert at[before].max() < START + TAUGHT * DAY <= at[~before].min()

    def odds(rows):
        logit = np.log(truth[rows] / (1 - truth[rows]))
        return np.bincount(item[rows], logit) / np.bincount(item[rows])

    moved = odds(~before) - odds(before)
    assert 0.3 < moved.std() < 0.5
    assert np.corrcoef(odds(~before), odds(before))[0, 1] > 0.8
