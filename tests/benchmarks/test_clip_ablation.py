"""The ablation of what is clipped together: its arithmetic, and its optimizers."""

import pytest

from benchmarks import clip_ablation, large_batch
from benchmarks.large_batch import BASE_BATCH, Run

BATCH = 16 * BASE_BATCH


def test_the_bound_is_chosen_on_validation_rows():
    runs = []
    for place, own in enumerate(clip_ablation.recipes().values()):
        for i, recipe in enumerate(own):
            # the second bound is best in validation, the last in test
            areas = (0.5, 0.9 if i == 1 else 0.6)
            test = 0.7 + 0.1 * place + 0.01 * i
            runs.append(Run(recipe, BATCH, 1, validation=areas, test=test, clipped=0.25))
    found = clip_ablation.summary(runs)
    first = found["ablation"]["id, adaptive"]
    assert first["bound"] == clip_ablation.BOUNDS[1] and first["validation"] == 0.9
    assert first["test"] == pytest.approx(0.71)
    assert first["gain"] == pytest.approx(0.71 - 1.1)  # off is the fifth
    assert found["ablation"]["off"]["gain"] == 0
    expected = ["off", "global", "field", "id, constant", "id, adaptive"]
    assert found["order"] == expected


def test_optimizers_of_the_ablation():
    recipes, built = clip_ablation.recipes(), {}
    for name, own in recipes.items():
        _, built[name] = large_batch.optimizers(Run(own[-1], BATCH, 1), 4, 2)
    assert {name: o.clip for name, o in built.items()} == {
        "id, adaptive": "cowclip",
        "id, constant": "cowclip",
        "field": "field",
        "global": "global",
        "off": "none",
    }
    last = clip_ablation.BOUNDS[-1] / BATCH
    assert built["field"].r == built["id, adaptive"].r == pytest.approx(last)
    assert built["id, constant"].r == 0
    # ten weights drawn with a deviation of .01
    assert built["id, constant"].zeta == pytest.approx(last * 0.0316, rel=1e-2)
    assert all(o.l2 == 0 for o in built.values())
