"""A watch time and a funnel from the log to what is served, by other losses."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import steadyrank
from steadyrank.models.features import GROUP, Feature, Task
from steadyrank.models.row_losses import row_losses
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import require_labels
from steadyrank.pipeline.examples.dataset import evaluation_dataset, training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, preprocess, train
from steadyrank.pipeline.kinds.ranking.measure import at_references
from steadyrank.pipeline.metrics.scored import Scored
from tests.helpers import tiny

MODEL = {"trunk": "shared_bottom", "embedding_dim": 4, "bottom_units": [8]}


def config(loss="tweedie", **watch):
    tasks = [
        {"name": "click"},
        {"name": "like", "given": "click", "space": "all"},
        {"name": "watch", "kind": "regression", "given": "click", "loss": loss, **watch},
    ]
    changes = {"model": MODEL, "tasks": tasks, "train__epochs": 2}
    changes["gates"] = {"skew": {"max_difference": 1e-5}}
    return parse_config(tiny.config_document(**changes), "c")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives")
    tiny.write_log(folder / "log")
    preprocess(config(), folder / "log", folder / "examples")
    return folder / "examples"


def test_a_mean_and_a_funnel_from_the_log_to_the_verdict(examples, tmp_path):
    summary = train(config(), examples, tmp_path / "t")
    assert np.isfinite(summary["best"])
    export(config(), tmp_path / "t", tmp_path / "e")
    verdict = evaluate(config(), examples, tmp_path / "e", tmp_path / "v")
    tasks = verdict["metrics"]["tasks"]
    # the rows that are judged are those of the sample space, whatever trained the task
    assert tasks["like"]["rows"] == tasks["click"]["positives"] < tasks["click"]["rows"]
    assert 0.5 < tasks["watch"]["calibration"] < 2
    (skew,) = (gate for gate in verdict["gates"] if gate["gate"] == "skew")
    assert skew["passed"]


@pytest.mark.parametrize("loss", ["squared", "gamma"])
def test_training_chooses_the_loss(examples, loss, tmp_path):
    summary = train(config(loss), examples, tmp_path / "t")
    assert np.isfinite(summary["best"])


def test_a_curve_is_kept_served_and_of_the_validation_split(examples, tmp_path):
    made = config("weighted_logistic", smearing="levels")
    train(made, examples, tmp_path / "t")
    export(made, tmp_path / "t", tmp_path / "e")
    read, served = ExampleSet.open(examples), Export(tmp_path / "e")
    watch, said = [], []
    for features, labels, masks in evaluation_dataset(read, "validation", 4096):
        inside = masks["watch"].numpy() > 0
        watch.append(labels["watch"].numpy()[inside])
        said.append(served.call[ENCODED](features)["watch"][inside])
    watch, said = np.concatenate(watch), np.concatenate(said)
    assert said.sum() == pytest.approx(watch.sum(), rel=1e-4)
    low, high = np.array_split(np.argsort(said), 2)
    for half in (low, high):  # each level its own, which one factor does not give
        assert said[half].sum() == pytest.approx(watch[half].sum(), rel=0.15)


def test_a_curve_is_for_what_is_not_learned_as_it_is():
    with pytest.raises(InputError, match="smearing: levels is for what is not learned"):
        config("squared", smearing="levels")


def test_labels_that_a_loss_does_not_take_are_refused():
    task = Task("watch", "regression", loss="gamma")
    require_labels([task], {"watch": 0.1})
    require_labels([task], {"watch": None})
    with pytest.raises(InputError, match="above 0; tweedie takes 0 as well. Received: a"):
        require_labels([task], {"watch": 0.0})
    with pytest.raises(InputError, match="loss: gamma takes values not below 0"):
        require_labels([task], {"watch": -2.0})


def test_gamma_takes_no_zero_from_the_log_on(tmp_path):
    rows = [row | {"watch": 0.0 if row["number"] % 3 else 1.0} for row in tiny.make_rows()]
    tiny.write_log(tmp_path, rows)
    with pytest.raises(InputError, match="gamma takes values above 0; tweedie takes 0"):
        preprocess(config("gamma"), tmp_path, tmp_path / "examples")
    # what lies outside of the sample space is no label
    rows = [row | {"watch": row["watch"] if row["click"] else 0.0} for row in rows]
    rows = [row | {"watch": 1.0} if row["click"] else row for row in rows]
    tiny.write_log(tmp_path, rows)
    manifest = preprocess(config("gamma"), tmp_path, tmp_path / "examples")
    assert manifest["rows"]["written"] == 600 and not manifest["rows"]["rejected"]


def test_the_least_label_is_that_of_the_rows_that_train(examples):
    rows = [r for r in tiny.make_rows() if r["time_ms"] < 1_709_596_800_000 and r["click"]]
    least = min(r["watch"] for r in rows if r["watch"] is not None)
    assert ExampleSet.open(examples).label_lows()["watch"] == pytest.approx(least, abs=0.01)


BIASED = {
    "price": {"drop": 50},  # which no row has
    "age": {"drop": 30},
    "country": {"drop": "de"},
}


def biased_config(drops=BIASED, **changes):
    features = [
        f | ({"serving": drops[f["name"]]} if f["name"] in drops else {})
        for f in tiny.CONFIG["features"]
    ]
    changes = {"features": features, "model": MODEL, "train__epochs": 2, **changes}
    changes["gates"] = {"skew": {"max_difference": 1e-5}}
    return parse_config(tiny.config_document(**changes), "c")


def test_what_biased_the_log_is_neither_asked_for_nor_read_when_served(tmp_path):
    tiny.write_log(tmp_path / "log")
    config, examples = biased_config(), tmp_path / "examples"
    preprocess(config, tmp_path / "log", examples)
    learned = {f.name: f for f in ExampleSet.open(examples).schema.features}
    assert learned["age"].reference == 30 and learned["user"].reference is None
    line = (examples / "vocab" / "country.txt").read_text().split().index("de")
    assert learned["country"].reference == learned["country"].ids.of_line(line)
    train(config, examples, tmp_path / "t")
    path = export(config, tmp_path / "t", tmp_path / "e")
    verdict = evaluate(config, examples, tmp_path / "e", tmp_path / "v")
    (skew,) = (gate for gate in verdict["gates"] if gate["gate"] == "skew")
    assert skew["passed"]
    assert " where " not in verdict["metrics"]["where"]
    served = Export(path)
    assert not {*BIASED} & {f.name for f in served.schema.features}
    assert not any("bias_tower" in v.name for v in served._loaded.weights)
    rows = [{k: v for k, v in r.items() if k in ("user", "item", "tags")}
            for r in tiny.make_rows(50)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    steadyrank.score(
        model=tmp_path / "e",
        input=str(tmp_path / "rows.parquet"),
        output=tmp_path / "scores",
        data=tmp_path / "log",
    )
    found = ds.dataset([*map(str, (tmp_path / "scores").rglob("*.parquet"))]).to_table()
    assert len(found) == 50


def test_an_export_is_judged_on_the_rows_of_which_it_tells(tmp_path):
    tiny.write_log(tmp_path / "log")
    config, examples = biased_config({"country": {"drop": "de"}}), tmp_path / "examples"
    preprocess(config, tmp_path / "log", examples)
    summary = train(config, examples, tmp_path / "t")
    rows = [r for r in tiny.make_rows() if r["time_ms"] >= 1_709_683_200_000]
    export(config, tmp_path / "t", tmp_path / "e")
    verdict = evaluate(config, examples, tmp_path / "e", tmp_path / "v")
    metrics = verdict["metrics"]
    judged = [r for r in rows if r["user"] in range(0, 20, 3)]
    assert metrics["tasks"]["click"]["rows"] == len(judged) < metrics["rows"] == len(rows)
    assert metrics["where"].endswith(" where country is de")
    told = next(g["reason"] for g in verdict["gates"] if g["gate"] == "learned")
    assert "where country is de" in told
    # while training, all rows are measured
    assert summary["validation"]["click"]["rows"] == 100


def test_rows_at_the_references_alone_count():
    columns = {"place": np.array([1, 2, 1, 1]), "size": np.array([5.0, 5, np.nan, 5], "f4")}
    scored = Scored(
        {}, {"a": np.array([1.0, 1, 1, 0.5]), "b": np.zeros(4)}, {"a": np.ones(4)}, None,
        {}, columns,
    )  # fmt: skip
    place = Feature("place", "categorical", vocabulary_size=3, dim=2, reference=1.0)
    size = Feature("size", "numeric", reference=5.0)
    judged = at_references(scored, [place, size])
    np.testing.assert_array_equal(judged.masks["a"], [1, 0, 0, 0.5])
    np.testing.assert_array_equal(judged.masks["b"], 0)
    assert at_references(scored, []).masks["a"].sum() == 3.5
    nowhere = Feature("size", "numeric", reference=6.0)
    assert at_references(scored, [nowhere]) is scored


def test_a_value_that_training_never_has_is_no_reference(tmp_path):
    tiny.write_log(tmp_path / "log")
    config = biased_config({"country": {"drop": "it"}})
    with pytest.raises(InputError, match=r"country.serving.drop must be a value .* 'it'"):
        preprocess(config, tmp_path / "log", tmp_path / "examples")


@pytest.mark.parametrize(
    ("drops", "changes", "said"),
    [
        ({"tags": {"drop": "t1"}}, {}, "features of one value"),
        ({"age": {"drop": "old"}}, {}, "must be a finite number"),
        ({"age": {"drop": 1}}, {"score": "click * age"}, "age"),
        ({"age": {"drop": 1}}, {"serving": {"shared": ["age"]}}, "no export reads it"),
    ],
)
def test_what_is_dropped_is_used_nowhere_else(drops, changes, said):
    with pytest.raises(InputError, match=said):
        biased_config(drops, **changes)


@pytest.mark.parametrize("ranking", ["pairwise", "listwise", "jrc"])
def test_groups_stay_together_where_a_task_is_ranked_within_them(examples, ranking):
    tasks = [{"name": "click", "ranking": ranking}, *tiny.CONFIG["tasks"][1:]]
    ranked = parse_config(tiny.config_document(model=MODEL, tasks=tasks), "c")
    assert ranked.ranks_groups
    opened = ExampleSet.open(examples)
    how = {"epoch": 0, "batch_size": 30, "seed": 3, "shuffle_rows": 1000, "grouped": True}
    rows = 0
    parts = []
    for _, labels, masks, _ in training_dataset(opened, **how):
        rows += len(labels[GROUP])
        parts.append(labels[GROUP].numpy())
        losses = row_losses(
            [Task("click", ranking=ranking)],
            labels,
            masks,
            {"click": tf.zeros(len(parts[-1]))},
        )
        plain = row_losses(
            [Task("click")], labels, masks, {"click": tf.zeros(len(parts[-1]))}
        )
        assert tf.reduce_sum(losses["click"][0]) > tf.reduce_sum(plain["click"][0])
    assert rows == opened.rows("train")
    groups = np.concatenate(parts)
    # four windows: each group's rows are one run in each
    known = groups >= 0
    runs = np.count_nonzero(np.diff(groups, prepend=-1)[known])
    assert runs <= 4 * len(np.unique(groups[known])) < known.sum() / 3
    assert sorted(parts[0].tolist()) != parts[0].tolist()


def test_an_order_within_requests_trains(examples, tmp_path):
    tasks = [{"name": "click", "ranking": "jrc", "ranking_weight": 0.5}]
    ranked = parse_config(tiny.config_document(model=MODEL, tasks=tasks), "c")
    summary = train(ranked, examples, tmp_path / "t")
    assert np.isfinite(summary["best"])
    export(ranked, tmp_path / "t", tmp_path / "e")


@pytest.mark.parametrize(
    ("tasks", "changes", "said"),
    [
        ([{"name": "watch", "kind": "regression", "ranking": "jrc"}], {}, "binary tasks"),
        ([{"name": "click", "ranking_weight": 2}], {}, "of ranking, which is none"),
        (
            [{"name": "click", "ranking": "jrc"}],
            {"data__group": None},
            "data.group, a user",
        ),
    ],
)
def test_a_ranking_that_does_not_fit_is_refused(tasks, changes, said):
    with pytest.raises(InputError, match=said):
        parse_config(tiny.config_document(tasks=tasks, **changes), "c")
