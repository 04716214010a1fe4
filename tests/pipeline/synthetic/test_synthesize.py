"""The synthetic log: its bytes, its funnel, and whether its truth is true."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from steadyrank.pipeline.synthetic import synthesize
from steadyrank.pipeline.synthetic.log import DAY_MS, RECENT, START_MS, recent_clicks
from steadyrank.pipeline.synthetic.tables import item_ids
from steadyrank.pipeline.synthetic.world import DAYS, draw, intercept, normal_cdf, sigmoid

ROWS = 120_000
FILES = ("log.parquet", "users.parquet", "items.parquet", "truth.parquet")
AFTER_CLICK = ("is_like", "is_comment", "is_share", "is_follow", "long_view")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthesize") / "log"
    synthesize(ROWS, 1, path)
    return path


@pytest.fixture(scope="module")
def log(folder):
    return pq.read_table(folder / "log.parquet")


@pytest.fixture(scope="module")
def columns(log):
    """The log's columns that hold no null, as NumPy."""
    return {c: log[c].to_numpy() for c in log.column_names if log[c].null_count == 0}


@pytest.fixture(scope="module")
def truth(folder, columns):
    """The true values, brought to the rows of the log."""
    table = pq.read_table(folder / "truth.parquet")
    ids = table["exposure_id"].to_numpy()
    assert np.array_equal(ids, np.unique(ids))
    place = np.searchsorted(ids, columns["exposure_id"])
    return {name: table[name].to_numpy()[place] for name in table.column_names}


def read(path):
    return [(path / name).read_bytes() for name in FILES]


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        synthesize(5000, seed, tmp_path / name)
    first, again, other = (read(tmp_path / name) for name in "abc")
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("rows", [1, 2, 61, 1000])
def test_small_logs_have_the_rows_asked_for(tmp_path, rows):
    synthesize(rows, 0, tmp_path / "log")
    assert pq.read_metadata(tmp_path / "log" / "log.parquet").num_rows == rows


def test_users_and_items_set_the_size_of_the_side_tables(tmp_path):
    synthesize(1000, 0, tmp_path / "log", users=7, items=11)
    sizes = [pq.read_metadata(tmp_path / "log" / name).num_rows for name in FILES[1:3]]
    assert sizes == [7, 11]


def test_labels_other_than_click_exist_only_after_a_click(columns):
    without = columns["is_click"] == 0
    for name in (*AFTER_CLICK, "watch_time_ms"):
        assert not columns[name][without].any()
        assert columns[name][~without].any()


@pytest.mark.parametrize(
    "task, rate",
    [("is_click", 0.35), ("is_like", 0.03), ("is_comment", 0.005)]
    + [("is_share", 0.008), ("is_follow", 0.004)],
)
def test_rates_are_as_stated(columns, task, rate):
    error = np.sqrt(rate * (1 - rate) / ROWS)
    assert abs(columns[task].mean() - rate) < 4 * error + 0.02 * rate


def sample_space(columns, task):
    return columns["is_click"] == 1 if task != "is_click" else slice(None)


@pytest.mark.parametrize("task", ["is_click", *AFTER_CLICK])
def test_truth_is_calibrated_overall_and_by_decile(columns, truth, task):
    where = sample_space(columns, task)
    label, p = columns[task][where], truth[f"p_{task}"][where].astype(float)
    for part in (slice(None), *np.array_split(np.argsort(p), 10)):
        error = np.sqrt((p[part] * (1 - p[part])).sum())
        assert abs(label[part].sum() - p[part].sum()) < 4.5 * error


def test_expected_watch_time_is_calibrated(columns, truth):
    click = columns["is_click"] == 1
    watch = columns["watch_time_ms"][click]
    expected = truth["expected_watch_time_ms"][click].astype(float)
    assert watch.mean() / expected.mean() == pytest.approx(1, abs=0.02)


def test_long_view_follows_from_watch_time(folder, columns):
    items = pq.read_table(folder / "items.parquet").drop_null()
    known = np.isin(columns["item_id"], items["item_id"].to_numpy())
    place = np.searchsorted(items["item_id"].to_numpy(), columns["item_id"][known])
    bound = np.minimum(items["item_duration_ms"].to_numpy()[place], 18_000)
    long = columns["watch_time_ms"][known] >= bound
    disagree = long != columns["long_view"][known].astype(bool)
    assert disagree.mean() < 1e-3  # both sides are rounded to whole milliseconds


def test_the_reachable_auc_leaves_something_to_learn(columns, truth):
    auc = roc_auc_score(columns["is_click"], truth["p_is_click"])
    assert 0.75 < auc < 0.82


def test_ids_carry_signal_that_later_days_keep(columns):
    """A user's and an item's click rate on the first 12 days rank the last two."""
    late = columns["time_ms"] >= START_MS + 12 * DAY_MS
    score = 0
    for key in ("user_id", "item_id"):
        _, index = np.unique(columns[key], return_inverse=True)
        seen = np.bincount(index[~late], minlength=index.max() + 1) + 10
        clicks = np.bincount(index[~late], columns["is_click"][~late], index.max() + 1)
        score = score + ((clicks + 3.5) / seen)[index[late]]
    assert roc_auc_score(columns["is_click"][late], score) > 0.68


def test_exact_duplicates_alone_share_an_exposure_id(log):
    names = [name for name in log.column_names if name != "recent_items"]
    assert ROWS - len(log["exposure_id"].unique()) == round(ROWS * 0.001)
    assert ROWS - len(log.group_by(names).aggregate([])) == round(ROWS * 0.001)


def test_time_never_falls_and_fills_the_days(columns):
    time_ms = columns["time_ms"]
    assert (np.diff(time_ms) >= 0).all()
    days = np.bincount((time_ms - START_MS) // DAY_MS)
    assert len(days) == DAYS and days.min() > 0.9 * ROWS / DAYS
    assert np.array_equal(columns["hour"], time_ms // 3_600_000 % 24)


def test_preferences_and_popularity_drift(columns):
    """Items popular in the first days are less so in the last ones."""
    _, item = np.unique(columns["item_id"], return_inverse=True)
    day = (columns["time_ms"] - START_MS) // DAY_MS
    counts = [
        np.bincount(item[part], minlength=item.max() + 1)
        for part in (day < 2, (day >= 2) & (day < 4), day >= 12)
    ]
    near, far = (np.corrcoef(counts[0], counts[i])[0, 1] for i in (1, 2))
    assert near > far + 0.1


def test_missing_values_are_a_few_percent(folder, log):
    tables = [log] + [pq.read_table(folder / name) for name in FILES[1:3]]
    share = {c: t[c].null_count / len(t) for t in tables for c in t.column_names}
    null = {name for name, part in share.items() if part > 0}
    assert null == {
        "device", "recent_items", "country", "interests", "category", "tags",
        "item_duration_ms", "author_followers",
    }  # fmt: skip
    assert all(0.01 < share[name] < 0.08 for name in null)
    age = tables[1]["account_age_days"].to_numpy()
    assert 0.01 < np.isnan(age).mean() < 0.08


def test_users_are_zipf(columns):
    counts = np.sort(np.bincount((columns["user_id"] - 100_000) // 7))[::-1]
    assert counts[: len(counts) // 10].sum() > 0.3 * ROWS


def naive_recent(user, item, click):
    seen, result = {}, []
    for u, i, c in zip(user, item, click, strict=True):
        result.append([int(item_ids(x)) for x in seen.get(u, [])[-RECENT:]])
        if c:
            seen.setdefault(u, []).append(i)
    return result


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=80,
    )
)
def test_recent_items_are_the_clicks_before(rows):
    user, item, click = (np.array(column) for column in zip(*rows, strict=True))
    order = np.argsort(user, kind="stable")
    recent = recent_clicks(order, user, item, click.astype(np.int8))
    assert recent.to_pylist() == naive_recent(user, item, click)


def test_idle_seconds_is_missing_only_at_a_users_first_row(columns):
    first = np.unique(columns["user_id"], return_index=True)[1]
    idle = np.isnan(columns["idle_seconds"])
    firsts = np.isin(columns["exposure_id"], columns["exposure_id"][first])
    assert np.array_equal(idle, firsts)
    assert (columns["idle_seconds"][~idle] >= 0).all()


def test_drawing_follows_the_shares():
    rng = np.random.default_rng(0)
    counts = np.bincount(draw(rng, np.array([0.5, 0.0, 0.3, 0.2]), 40_000))
    assert counts / 40_000 == pytest.approx([0.5, 0.0, 0.3, 0.2], abs=0.01)


def test_intercept_brings_the_mean_to_the_rate():
    rng = np.random.default_rng(0)
    logit, weight = rng.normal(2, 3, 1000), rng.random(1000)
    p = sigmoid(logit + intercept(logit, 0.01, weight))
    assert np.average(p, weights=weight) == pytest.approx(0.01, rel=1e-6)


def test_normal_cdf_equals_scipy():
    x = np.linspace(-8, 8, 1001)
    assert normal_cdf(x) == pytest.approx(norm.cdf(x), abs=1e-7)


def test_an_existing_output_is_kept_unless_overwritten(tmp_path):
    path = tmp_path / "log"
    synthesize(100, 1, path)
    before = read(path)
    with pytest.raises(ValueError, match="exists"):
        synthesize(100, 2, path)
    assert read(path) == before
    synthesize(100, 2, path, overwrite=True)
    assert read(path) != before
    assert [p.name for p in tmp_path.iterdir()] == ["log"]  # nothing half done beside it


def test_a_failure_leaves_nothing(tmp_path):
    def fail(done, what):
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(100, 1, tmp_path / "log", progress=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rows": 0}, "rows must .* Received: rows=0"),
        ({"rows": -5}, "rows=-5"),
        ({"rows": 1.5}, "rows=1.5"),
        ({"users": 0}, "users must .* Received: users=0"),
        ({"items": True}, "items=True"),
        ({"seed": -1}, "seed must .* Received: seed=-1"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        synthesize(**({"rows": 10, "seed": 1, "output": tmp_path / "log"} | arguments))
    assert not (tmp_path / "log").exists()
