"""What an earlier model foretold, from its scores to the loss of the next one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import steadyrank
from steadyrank.models.features import SOFT
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree, require_made_for
from steadyrank.pipeline.examples.dataset import evaluation_dataset, training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import export, preprocess, train
from tests.helpers import tiny
from tests.helpers.settled import settle

TASKS = ["click", "like", "watch"]


def config(tasks=(), **changes):
    document = tiny.config_document(**changes)
    for task in document["tasks"]:
        task |= {"soft_label": f"teacher_{task['name']}"} | dict(dict(tasks).get("*", {}))
        task |= dict(tasks).get(task["name"], {})
    return parse_config(document, "c")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, log_folder, exported):
    """The log as it is, with what the released model foretells of each row."""
    folder = tmp_path_factory.mktemp("distillation")
    steadyrank.score(
        model=exported,
        input=str(log_folder / "log.parquet"),
        output=folder / "scored",
        data=log_folder,
        keep="*",
        prefix="teacher_",
    )
    (folder / "users.parquet").symlink_to(log_folder / "users.parquet")
    return folder


@pytest.fixture(scope="module")
def taught(scored):
    made = config(data__input=["scored/part-*.parquet"])
    preprocess(made, scored, scored / "examples")
    return ExampleSet.open(scored / "examples")


def read(folder) -> pa.Table:
    return pa.concat_tables(pq.read_table(p) for p in sorted(folder.glob("part-*")))


def test_a_log_keeps_all_its_columns_beside_the_scores(scored, log_folder):
    table, log = read(scored / "scored"), pq.read_table(log_folder / "log.parquet")
    given = [f"teacher_{n}" for n in (*TASKS, "score", "model_version")]
    assert sorted(table.column_names) == sorted([*log.column_names, *given])
    assert table.select(log.column_names).equals(log)


def test_training_reads_what_the_teacher_foretold_and_judging_does_not(scored, taught):
    table = read(scored / "scored")
    day = pc.strftime(pc.cast(table["time_ms"], pa.timestamp("ms")), "%Y-%m-%d")
    table = table.filter(pc.less(day, "2024-03-05"))
    how = {"epoch": 0, "batch_size": 10_000, "seed": 1, "shuffle_rows": 10_000}
    ((_, labels, _, _),) = training_dataset(taught, **how)
    for task in TASKS:
        wanted = np.sort(table[f"teacher_{task}"].to_numpy())
        np.testing.assert_allclose(np.sort(labels[SOFT + task]), wanted, rtol=1e-6)
        # row by row, and not any row's: what is clicked is what is foretold to be
    both = np.corrcoef(labels[SOFT + "click"], labels["click"])[0, 1]
    plain = np.corrcoef(table["teacher_click"], table["click"])[0, 1]
    assert both == pytest.approx(plain, abs=1e-6) and both > 0.1
    for _, labels, _ in evaluation_dataset(taught, "validation", 1000):
        assert set(labels) == set(TASKS)


def test_examples_know_their_teacher_and_training_its_share(taught):
    made = config(data__input=["scored/part-*.parquet"])
    other = config({"*": {"soft_weight": 0.9}}, data__input=["scored/part-*.parquet"])
    for each in (made, other):
        require_made_for(each, taught.manifest, taught.path)
    weights = {task.soft_weight for task in agree(other, taught.schema).tasks}
    assert weights == {0.9}
    with pytest.raises(InputError, match="soft_label is '' in the config, but"):
        agree(config({"click": {"soft_label": ""}}), taught.schema)


def test_the_next_model_learns_of_both_and_asks_for_neither(taught, tmp_path):
    made = config(data__input=["scored/part-*.parquet"])
    summary = train(made, taught.path, tmp_path / "t")
    assert np.isfinite(summary["best"])
    export(made, tmp_path / "t", tmp_path / "e")
    read = {"user", "item", "tags", "user_country", "price", "age"}
    assert set(Export(tmp_path / "e").columns.values()) == read


@pytest.fixture
def log(tmp_path):
    """Eight rows to train on, of which some cannot be."""
    hours = 3_600_000 * np.arange(16) * 9 + 1_709_251_200_000
    rows = {"at": hours, "user": np.arange(16) % 3, "click": np.arange(16) % 2}
    rows["teacher"] = [0.0, 1.0, 0.25, None, float("nan"), 1.5, -0.1, 0.5, *[0.5] * 8]
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    return tmp_path


def plain(task, **data):
    split = {"validation": "2024-03-05", "test": "2024-03-06"}
    return parse_config(
        {
            "data": {"input": ["log.parquet"], "time": "at", "split": split, **data},
            "features": [{"name": "user", "kind": "categorical"}],
            "tasks": [{"name": "click", "soft_label": "teacher", **task}],
            "model": {"trunk": "lr"},
            "train": {"monitor": "click"},
        },
        "c",
    )


def test_what_is_no_probability_is_rejected_and_what_is_missing_is_not(log):
    found = settle(plain({}, max_rejected=0.5), log)
    soft = found.rows["soft/click"].to_numpy()
    assert len(soft) == 14 and np.isnan(soft).sum() == 2
    assert found.rejected == {"soft label of click: not from 0 to 1": 2}
    value = {"kind": "regression", "loss": "weighted_logistic"}
    found = settle(plain(value, max_rejected=0.5), log)
    below = "soft label of click: below 0, which loss weighted_logistic does not take"
    assert found.rejected == {below: 1}


CHAIN = {"given": "click", "space": "all"}
DROPPED = {"name": "item", "kind": "categorical", "serving": {"drop": "i1"}}
DROPPED = [{"name": "user", "kind": "categorical"}, DROPPED]


@pytest.mark.parametrize(
    ("tasks", "changes", "said"),
    [
        ([{"name": "click", "soft_weight": 0.3}], {}, "of soft_label, which is empty"),
        (
            [{"name": "click"}, {"name": "like", "soft_label": "t", **CHAIN}],
            {},
            "set tasks.click.soft_label",
        ),
        ([{"name": "click", "soft_label": "t"}], {"features": DROPPED}, "one of them out"),
        (
            [{"name": "click", "soft_label": "t"}],
            {"data__negatives": {"item": "item", "per_positive": 2}},
            "no negative of click",
        ),
    ],
)
def test_what_no_teacher_can_tell_is_refused(tasks, changes, said):
    with pytest.raises(InputError, match=said):
        parse_config(tiny.config_document(tasks=tasks, **changes), "c")
