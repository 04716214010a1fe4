"""The studies of batch size: their arithmetic, and a step of each side."""

import numpy as np
import pytest

from benchmarks import cowclip_step, in_memory, large_batch
from benchmarks.criteo import generate
from benchmarks.large_batch import BASE_BATCH, RECIPES, SHIPPED, Run, drops, headline
from steadyrank.components.optimizers.rows import RowAdam


def test_drops_are_of_means_over_seeds():
    runs = [Run(RECIPES[4], BASE_BATCH, seed, test=0.80 + 0.01 * seed) for seed in (1, 3)]
    runs += [
        Run(
            recipe,
            16 * BASE_BATCH,
            seed,
            test=0.79 + 0.01 * place + 0.001 * seed,
            seconds=2.0,
        )
        for place, recipe in enumerate(RECIPES)
        for seed in (1, 3)
    ]
    found = drops(runs, 16)
    for place, recipe in enumerate(RECIPES):
        assert found[recipe.name] == pytest.approx(0.82 - 0.792 - 0.01 * place)
    keys = headline(runs, 16)
    assert keys["cowclip_drop_16x"] == pytest.approx(0.028 - 0.04)
    assert keys["best_other_rule_drop_16x"] == pytest.approx(0.028 - 0.03)
    assert keys["best_shipped_drop_16x"] == pytest.approx(0.028 - 0.08)
    assert np.isnan(drops(runs, 64)[SHIPPED])


def test_what_the_clip_is_worth_is_beside_the_same_without_it():
    batch, study = 16 * BASE_BATCH, large_batch.CLIP_STUDY
    runs = [Run(recipe, batch, 1, test=0.7 + 0.01 * i) for i, recipe in enumerate(study)]
    worth = large_batch.clip_worth(runs, batch)
    assert len(worth) == 8
    first = worth["adam l2 1 rate 1"]
    assert first == pytest.approx({"off": 0.72, "clip": -0.02, "summed": -0.01})


def test_the_bound_of_a_summed_loss_is_as_many_times_smaller():
    by_name = {recipe.name: recipe for recipe in large_batch.CLIP_STUDY}
    tables = {}
    for name in large_batch.CLIPS:
        run = Run(by_name[f"adagrad l2 0 rate 8: {name}"], 4 * BASE_BATCH, 1)
        _, tables[name] = large_batch.optimizers(run, 4, 6)
    assert tables["off"].clip == "none" and tables["clip"].clip == "cowclip"
    assert tables["clip"].r == 1 and tables["clip"].l2 == 0
    assert tables["summed"].r == pytest.approx(1 / 4096)
    assert tables["summed"].zeta == pytest.approx(1e-5 / 4096)
    rate = 8 * large_batch.ADAGRAD["embedding_rate"] * 2  # the root of 4 times the batch
    assert float(tables["summed"].learning_rate) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("--quick", "quick"),
        ("", ""),
        (
            "--decay linear --recipes momentum --factors 64 --no-kuairand",
            "decay_momentum_64x_shaped",
        ),
        ("--quick --clip-study", "clip_quick"),
        ("--seeds 2 --epochs 1 --rows 500", "seed2_1epochs_500rows"),
    ],
)
def test_a_part_of_a_study_has_a_name_of_its_own(arguments, name):
    expected = "_".join(["large_batch", name] if name else ["large_batch"])
    assert large_batch.parse(arguments.split()).name == expected


def test_recipes_differ_in_what_their_names_say():
    by_name = {recipe.name: recipe for recipe in RECIPES}
    found = {}
    for name in (SHIPPED, f"{SHIPPED}, as trained", f"{SHIPPED}, Adagrad"):
        dense, rows = large_batch.optimizers(Run(by_name[name], 16 * BASE_BATCH, 1), 4, 2)
        rates = [float(dense._learning_rate(step)) for step in (0, 4)]
        found[name] = type(dense).__name__, dense.clip, *np.round(rates, 4).tolist()
        assert rows.clip == "cowclip" and float(rows._learning_rate(0)) == pytest.approx(
            4e-3
        )
    assert list(found.values()) == [
        ("Adam", "none", 0.0, 0.0128),
        ("Adam", "clippy", 0.0128, 0.0128),
        ("Adagrad", "clippy", 0.8, 0.8),
    ]


def test_no_row_is_in_two_batches_and_the_last_are_left_out():
    rows = range(10, 33)
    found = [batch.tolist() for batch in in_memory.batches(rows, 5, seed=3)]
    assert [len(batch) for batch in found] == [5] * 4
    flat = [row for batch in found for row in batch]
    assert len(set(flat)) == 20 and set(flat) <= set(rows)
    again = [batch.tolist() for batch in in_memory.batches(rows, 5, seed=3)]
    assert again == found
    other = [batch.tolist() for batch in in_memory.batches(rows, 5, seed=4)]
    assert other != found


def test_training_in_memory_learns():
    data = generate(6000, 5000)
    model = in_memory.model_of(
        in_memory.features_of(data, 5000), {"trunk": "deepfm", **large_batch.DEEP}, 1
    )
    model.compile(*large_batch.optimizers(Run(RECIPES[4], BASE_BATCH, 1), 4, 6))
    trainer = in_memory.Trainer(model, data)
    losses = [trainer.epoch(range(5000), BASE_BATCH, seed)["loss"] for seed in range(6)]
    assert losses[-1] < losses[0]
    assert 0.5 < trainer.auc(range(5000)) <= 1
    assert isinstance(model.embedding_optimizer, RowAdam)


def test_the_published_form_takes_the_step_of_dense_semantics(monkeypatch):
    """The side that we are timed against does the same sums as our own parity oracle."""
    monkeypatch.setattr(cowclip_step, "SETTINGS", {"trunk": "deepfm", "deep_units": [8]})
    data = generate(512, 2000)
    dense = cowclip_step.Dense(data)
    model = in_memory.model_of(
        in_memory.features_of(data, 65_536), cowclip_step.SETTINGS, seed=1
    )
    rows = RowAdam(cowclip_step.RATE, l2=cowclip_step.L2, semantics="dense")
    model.compile(cowclip_step.DENSE_OPTIMIZERS["adam"](1e-3, clip="none"), rows)
    ours = in_memory.Trainer(model, data)
    for start in (0, 128, 256):
        batch = np.arange(start, start + 128)
        dense.take(batch)
        ours.step(batch)
    pairs = zip(model.embedding_variables, dense.model.embedding_variables, strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=2e-5)
