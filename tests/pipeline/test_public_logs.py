"""The public logs as downloaded, in small: shipped configs, from file to verdict."""

import collections
import json
import math

import numpy as np
import pytest

from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log, read_all
from tests.helpers.command_line import in_this_process
from tests.helpers.public_logs import (
    avazu_lines,
    criteo_lines,
    write_avazu,
    write_criteo,
    write_kuairand,
    write_text,
)

ROWS = 8000
SMALL = [
    "model.deep_units=[8]",
    "train.epochs=2",
    "train.batch_size=128",
    "train.base_batch_size=128",
    "train.warmup_steps=0",
    "train.dense.learning_rate=0.003",
    "train.embedding.learning_rate=0.003",
    "gates.calibration={}",
    "gates.auc.label.min=0.55",
]


def shipped(pytestconfig, name, *changes):
    return load_config(pytestconfig.rootpath / "configs" / name, list(changes))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def vocabulary(examples, name) -> list[str]:
    return (examples / "vocab" / f"{name}.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def criteo(tmp_path_factory, pytestconfig):
    """From the file to the verdict by the command that the config shows: folder, lines."""
    folder = tmp_path_factory.mktemp("criteo")
    lines = criteo_lines(ROWS)
    write_criteo(folder / "train.txt", lines)
    command = ["run", "--config", pytestconfig.rootpath / "configs" / "criteo.yaml"]
    command += ["--data", folder, "--output", folder / "run"]
    for change in SMALL:
        command += ["--set", change]
    assert in_this_process(*command) == 0
    return folder / "run", lines


def test_criteo_counts_by_hand(criteo):
    folder, lines = criteo
    manifest = read(folder / "examples" / "manifest.json")
    splits = {name: split["rows"] for name, split in manifest["splits"].items()}
    assert manifest["rows"]["read"] == sum(splits.values()) == ROWS
    assert manifest["rows"]["duplicates"] == 0 and not manifest["rows"]["rejected"]
    assert splits["test"] == pytest.approx(0.1 * ROWS, abs=4 * math.sqrt(0.09 * ROWS))
    assert splits["validation"] == pytest.approx(0.05 * ROWS, abs=50)
    clicks = sum(line[0] == "1" for line in lines)
    assert manifest["tasks"]["label"]["positives"] == clicks
    # small fields: all values are in the training split; "" is no value of them
    for field in (6, 9, 17, 20, 22, 23):  # C6, C9 and so on
        values = {line[13 + field] for line in lines} - {""}
        assert set(vocabulary(folder / "examples", f"C{field}")) <= values
        assert len(values) - len(vocabulary(folder / "examples", f"C{field}")) <= 1


def test_criteo_numbers_are_scaled_by_the_range_of_the_training_split(criteo):
    """Read back: what standardise() makes of the extremes of each column is 0 and 1."""
    from steadyrank.models.inputs import standardise

    folder, lines = criteo
    examples = ExampleSet.open(folder / "examples")
    features = {f.name: f for f in examples.schema.features}
    for i in range(1, 14):
        known = [float(line[i]) for line in lines if line[i]]
        feature = features[f"I{i}"]
        low, high = feature.mean, feature.mean + feature.std
        assert low in known and high in known
        assert min(known) <= low < high <= max(known)
        values = np.array([low, (low + high) / 2, high, np.nan], np.float32)
        expected = [[0, 0], [0.5, 0], [1, 0], [0, 1]]
        np.testing.assert_allclose(standardise(feature, values), expected, atol=1e-6)
    statistics = read(folder / "examples" / "statistics.json")["features"]["I5"]
    low = features["I5"].mean
    assert statistics["min"] == low and statistics["mean"] > low


def test_criteo_passes_its_gates(criteo):
    folder, _ = criteo
    verdict = read(folder / "evaluation" / "verdict.json")
    assert verdict["verdict"] == "PASS"
    metrics = read(folder / "evaluation" / "metrics.json")
    assert metrics["tasks"]["label"]["auc"] > 0.55


def test_avazu(tmp_path, pytestconfig):
    lines = avazu_lines(ROWS)
    write_avazu(tmp_path / "train.gz", lines)
    preprocess(shipped(pytestconfig, "avazu.yaml"), tmp_path, tmp_path / "examples")
    manifest = read(tmp_path / "examples" / "manifest.json")
    splits = {name: split["rows"] for name, split in manifest["splits"].items()}
    assert sum(splits.values()) == ROWS
    assert splits["test"] == pytest.approx(0.2 * ROWS, abs=4 * math.sqrt(0.16 * ROWS))
    assert manifest["tasks"]["click"]["positives"] == sum(x[1] == "1" for x in lines)
    hours = collections.Counter(line[2] for line in lines)
    known = vocabulary(tmp_path / "examples", "hour")
    assert set(known) <= set(hours) and all(len(hour) == 8 for hour in known)
    assert vocabulary(tmp_path / "examples", "C20") == ["-1"]  # a value like any other
    names = [f.name for f in ExampleSet.open(tmp_path / "examples").schema.features]
    assert len(names) == 22 and "id" not in names


def test_kuairand_as_published(tmp_path, pytestconfig):
    log = write_kuairand(tmp_path, ROWS)
    config = shipped(pytestconfig, "kuairand_public.yaml")
    preprocess(config, tmp_path, tmp_path / "examples")
    manifest = read(tmp_path / "examples" / "manifest.json")
    assert manifest["rows"]["read"] == manifest["rows"]["written"] == ROWS
    splits = {name: split["rows"] for name, split in manifest["splits"].items()}
    days = collections.Counter(row["date"] for row in log)
    assert splits["validation"] == days[20220506]
    assert splits["test"] == days[20220507] + days[20220508]
    assert set(manifest["unmatched"].values()) == {0}
    likes = sum(row["is_like"] for row in log)
    assert manifest["tasks"]["is_like"]["positives"] == likes
    assert set(vocabulary(tmp_path / "examples", "tag")) == {"39", "2", "12"}
    ranges = vocabulary(tmp_path / "examples", "follow_user_num_range")
    assert set(ranges) == {"(0,10]", "(250,500]"}


@pytest.mark.parametrize("name", ["train.txt", "train.tsv.bz2", "train.gz", "a.txt.gz"])
def test_files_without_a_header_keep_every_line(tmp_path, pytestconfig, name):
    lines = criteo_lines(50)
    write_criteo(tmp_path / name, lines)
    data = shipped(pytestconfig, "criteo.yaml").data
    log = open_log([str(tmp_path / name)], Form.of(data), {"C26": "x"})
    table = read_all(log, log.schema.names)
    assert table.column_names == data.columns
    found = zip(*(column.to_pylist() for column in table.columns), strict=True)
    assert [["" if v is None else v for v in row] for row in found] == lines


def test_lines_of_another_width_are_rejected(tmp_path, pytestconfig):
    lines = criteo_lines(400)
    lines[0] = lines[0][:-1]  # the first one, too: it is no header
    lines[300] = [*lines[300], "00000000"]
    write_criteo(tmp_path / "train.txt", lines)
    config = shipped(pytestconfig, "criteo.yaml")
    preprocess(config, tmp_path, tmp_path / "examples")
    rows = read(tmp_path / "examples" / "manifest.json")["rows"]
    assert rows["written"] == 398
    assert rows["rejected"] == {
        "CSV line has 39 columns instead of 40": 1,
        "CSV line has 41 columns instead of 40": 1,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.columns=[label, I1]"], "names 2 columns, but the first line has 40"),
        (["data.delimiter=','"], "names 40 columns, but the first line has 1, parted by"),
        (["data.columns=[label, label]"], "names must differ. Received twice"),
        (["data.columns=[]"], "no header line, name its columns in data.columns"),
        (["features.I1.scale=minimax"], "features.I1.scale"),
        (["features.I1.buckets=4"], "scale is for plain numbers"),
    ],
)
def test_what_does_not_fit_is_refused(criteo, pytestconfig, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        config = shipped(pytestconfig, "criteo.yaml", *changes)
        preprocess(config, criteo[0].parent, tmp_path / "examples")


def test_names_for_a_file_that_has_them_are_refused(tmp_path, pytestconfig, log_folder):
    columns = "data.columns=[a, b]"
    config = shipped(pytestconfig, "kuairand.yaml", columns, "data.join=[]")
    with pytest.raises(InputError, match="a Parquet file names its columns. Remove"):
        preprocess(config, log_folder, tmp_path / "examples")


def test_an_empty_file_without_a_header_is_refused(tmp_path, pytestconfig):
    write_text(tmp_path / "train.txt", "\n\n")
    with pytest.raises(InputError, match="train.txt: the file is empty"):
        preprocess(shipped(pytestconfig, "criteo.yaml"), tmp_path, tmp_path / "examples")
