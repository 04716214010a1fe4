"""Every key of a ranking config does something: the stages read it, or another value of it
is another model, another plan or another verdict.  A new key fails here until it does."""

import copy

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.models import build
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.contract import Contract
from steadyrank.pipeline.config.features import (
    ClockFeature,
    CrossFeature,
    HashFeature,
    SequenceFeature,
    VectorFeature,
)
from steadyrank.pipeline.config.gates import Gates
from steadyrank.pipeline.config.log import Negatives
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.config.task_weights import METHODS
from steadyrank.pipeline.config.trunks import TRUNKS
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.preprocess.looked_back import LookedBack
from steadyrank.pipeline.preprocess.past import pasts_of
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW
from steadyrank.pipeline.raw_log.findings import Findings
from tests.helpers import read_keys, tiny

# what the three stages need not look at, and which test gives it another value
ELSEWHERE = {
    ("Config", "contract"): "test_contract",
    ("NumericFeature", "quantiles"): "test_encodings",
    ("Config", "gates"): "test_another_limit_is_another_verdict",
    ("Config", "sweep"): "test_sweep",
    ("Config", "nightly"): "test_nightly",
    ("Config", "importance"): "test_importance",
    ("Downsample", "task"): "test_downsample",
    ("Downsample", "keep"): "test_downsample",
    **{("Negatives", key): "test_negatives" for key in Negatives.model_fields},
    ("Dropped", "drop"): "test_objectives: what biased the log",
    ("Importance", "rows"): "test_importance",
    ("Importance", "together"): "test_importance",
    ("NumericFeature", "measure"): "test_every_key_of_a_sequence_is_read",
    ("NumericFeature", "window"): "test_every_key_of_a_sequence_is_read",
    ("Keep", "nights"): "test_nightly: what is old goes after a night",
    ("Keep", "releases"): "test_nightly: what is old goes after a night",
    ("Nightly", "keep"): "test_nightly: what is old goes after a night",
    ("Nightly", "train_days"): "test_nightly: no day since the base is passed over",
    ("Tracking", "experiment"): "test_tracked",
    ("Train", "max_rollbacks"): "test_recovery: rollbacks end",
}
# of the contract, test_contract: every limit refuses, and what was meant is exempt
BY_TABLES = [Contract, Gates, Sweep, SequenceFeature, VectorFeature, *METHODS, *TRUNKS]
BY_TABLES += [HashFeature, CrossFeature, ClockFeature]  # test_encodings


def test_the_stages_read_the_rest(exported, ranking_keys_read):
    told = set().union(*map(read_keys.keys_of, BY_TABLES))
    left = read_keys.keys_of(Config) - told - ranking_keys_read
    assert left - {*ELSEWHERE} == set()
    assert len(ranking_keys_read) > 80


FEATURES = (
    Feature("item", "categorical", raw="string", vocabulary_size=4, dim=4),
    Feature("user", "categorical", raw="string", vocabulary_size=3, dim=4),
    Feature("price", "numeric"),
    Feature(
        "past",
        "sequence",
        raw="string",
        max_values=3,
        table="item",
        vocabulary_size=4,
        dim=4,
    ),
)
TASKS = (Task("click"), Task("like"))
# key -> another value of it, whatever the trunk
OTHER = {
    "front": "dot",
    "history": {"encoder": "mean"},
    "tower_units": [5],
    "bottom_units": [6, 4],
    "layer_norm": True,
    "reads": {"like": ["click"]},
    "subspaces": 3,
    "penalty": 0.5,
    "experts": 3,
    "expert_units": [5],
    "levels": 3,
    "shared_experts": 3,
    "task_experts": 2,
    "deep_units": [7],
    "cross_layers": 1,
    "rank": 2,
}
# of which tables have their width, given by features before a model is built
WIDTH = {"trunk", "embedding_dim"}
BASE = {
    "embedding_dim": 4,
    "bottom_units": [12, 6],
    "deep_units": [6],
    "reads": {"click": ["like"]},
}


def built(settings: dict) -> list:
    """What a model is: its weights by name and shape, and what its trunk was told."""
    model = build.build_model(FEATURES, TASKS, "click", settings, seed=1)
    shapes = [(v.name, tuple(v.shape)) for v in model.trainable_variables]
    trunk = getattr(model, "trunk", None)
    told = trunk.get_config() if hasattr(trunk, "get_config") else {}
    return [sorted(shapes), repr(sorted(told.items(), key=repr))]


@pytest.mark.parametrize("section", TRUNKS, ids=lambda section: section.__name__)
def test_another_trunk_setting_is_another_model(section):
    fields = section.model_fields
    name = fields["trunk"].annotation.__args__[0]
    given = {key: value for key, value in BASE.items() if key in fields}
    base = section(trunk=name, **given)
    before = built(base.model_dump())
    keys = {*fields} - WIDTH - {"front_layers"}
    if name != "shared_bottom":  # the same class for all: tried once
        keys -= {"front", "history", "tower_units"}
    assert keys <= {*OTHER}, "say another value of the new key"
    for key in keys:
        changed = section(trunk=name, **{**given, key: OTHER[key]})
        assert built(changed.model_dump()) != before, key


def test_layers_of_a_front_and_blocks_of_a_history_count():
    def shared_bottom(**changes):
        settings = {"trunk": "shared_bottom", "bottom_units": [6], **changes}
        (section,) = (s for s in TRUNKS if s.__name__ == "SharedBottom")
        return built(section(**settings).model_dump())

    crosses = [shared_bottom(front="cross", front_layers=n) for n in (1, 2)]
    blocks = [shared_bottom(history={"encoder": "nextitnet", "blocks": n}) for n in (1, 2)]
    assert crosses[0] != crosses[1] and blocks[0] != blocks[1]


def test_every_key_of_a_vector_is_read(tmp_path):
    document = tiny.config_document()
    document["features"].append(
        {"name": "picture", "kind": "vector", "length": 2, "column": "seen"}
    )
    tiny.write_log(tmp_path)
    table = pq.read_table(tmp_path / "log.parquet")
    lists = pa.array([[1.0, 2.0]] * len(table))
    pq.write_table(table.append_column("seen", lists), tmp_path / "log.parquet")
    with read_keys.recorded() as found:
        make_plan(tiny.parse_config(document, "c"), tmp_path)
    assert read_keys.keys_of(VectorFeature) <= found


def test_every_key_of_a_sequence_is_read(log_folder):
    past = {"name": "past", "kind": "sequence", "of": "item", "length": 3}
    past |= {"column": "tags", "separator": "|"}
    document = tiny.config_document()
    made = {"from": "events", "by": ["item"], "where": "click", "label_delay": "1h"}
    rate = {"name": "rate", "kind": "numeric", "measure": "rate", "window": "1d"}
    last = {"name": "last", "kind": "sequence", "of": "item", "length": 3}
    document["features"] += [past, {**last, **made}, {**rate, **made}]
    with read_keys.recorded() as found:
        plan = make_plan(tiny.parse_config(document, "c"), log_folder)
        table = pq.read_table(log_folder / "log.parquet")
        numbers = pa.array(np.arange(len(table), dtype=np.uint64))
        table = table.append_column(HIGH, numbers).append_column(LOW, numbers)
        for asked in pasts_of(plan):
            LookedBack(asked.wanted([table])[0], asked, Findings()).columns(0, 1)
    assert read_keys.keys_of(SequenceFeature) <= found
    assert {("NumericFeature", key) for key in ("measure", "window")} <= found


FULL = {
    "confidence": 0.9,
    "divergence": {"max_micro": 0, "max_rollbacks": 0, "max_spikes": 0},
    "auc": {"click": {"min": 0.6, "min_gain": 0.0}},
    "gauc": {"click": {"min": 0.6, "min_gain": 0.0}},
    "score_gauc": {"click": {"min": 0.6, "min_gain": 0.0}},
    "score_ndcg": {"click": {"min": 0.6, "min_gain": 0.0}},
    "log_loss": {"click": {"max": 0.6, "min_gain": 0.0}},
    "normalized_entropy": {"click": {"max": 0.6, "min_gain": 0.0}},
    "calibration": {"click": {"min": 0.9, "max": 1.1, "deciles": {"max_error": 0.2}}},
    "slices": [{"by": ["user"], "min_rows": 10, "auc": {"click": {"min": 0.5}},
                "calibration": {"click": {"min": 0.9, "max": 1.1}}}],
    "skew": {"max_difference": 0.1},
    "drift": {"max_psi": 0.1},
    "size": {"max_mb": 1.0},
    "latency": {"rows": 5, "max_p50_ms": 1.0, "max_p99_ms": 2.0},
    "stability": {"min_margin": 2.0, "min_steps": 10},
}  # fmt: skip
FOUND = {
    "rows": 400, "groups": 90, "auc": 0.7, "gauc": 0.7, "log_loss": 0.5, "rmse": 1.0,
    "normalized_entropy": 0.8, "calibration": 1.0, "score_gauc": 0.7, "score_ndcg": 0.7,
}  # fmt: skip
FOUND["errors"] = dict.fromkeys(FOUND, 0.06)
FOUND["gain"] = {name: {"difference": 0.02, "error": 0.01} for name in FOUND}
METRICS = {
    "tasks": {"click": FOUND},
    "baseline": {"tasks": {"click": {**FOUND, "auc": 0.68}}},
    "slices": [{"judged": [{"slice": {"user": "1"}, "tasks": {"click": FOUND}}]}],
    "skew": {"rows": 3, "max_difference": 0.2},
    "drift": {"click": {"psi": 0.3}},
    "size_mb": 4.0,
    "latency": {"rows": 5, "requests": 9, "signature": "encoded", "p50_ms": 3, "p99_ms": 4},
    "stability": {"margin": 3.0, "tried_up_to": 9.0, "steps": 10, "windows": 2},
    "divergence": {"steps": 50, "nonfinite_steps": 0, "micro": [], "diverged": False,
                   "diverged_at": None, "rollbacks": 1, "spikes": 2},
}  # fmt: skip
# what measures the rows reads, before anything is judged: another value, other numbers
MEASURED = {"repetitions", "min_rows", "by", "rows", "signature"}


def leaves(node, path=()):
    """Every limit of the gates, by its path."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def with_another(path, value) -> dict:
    changed = copy.deepcopy(FULL)
    node = changed
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value + (1 if isinstance(value, int) else 0.01)
    return changed


def test_another_limit_is_another_verdict():
    before = repr(judge(METRICS, Gates(**FULL).model_dump()))
    named = {key for path, _ in leaves(FULL) for key in path if isinstance(key, str)}
    assert {key for _, key in read_keys.keys_of(Gates)} - MEASURED <= named
    for path, value in leaves(FULL):
        if not MEASURED & {*path}:
            changed = Gates(**with_another(path, value)).model_dump()
            assert repr(judge(METRICS, changed)) != before, path
