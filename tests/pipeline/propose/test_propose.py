"""A config out of a log: it is valid, finds what was planted, and warns of leaks."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.propose.choose import AFTERWARDS, strongest
from steadyrank.pipeline.propose.look import Column
from steadyrank.pipeline.propose.stage import as_written, propose
from tests.helpers.settled import settle

ROWS = 4000


def planted(seed=1, **more) -> pa.Table:
    """A funnel of two labels and one beside it, ids, and a column that tells a label."""
    draw = np.random.default_rng(seed)
    click = draw.random(ROWS) < 0.4
    like = click & (draw.random(ROWS) < 0.2)
    start = datetime.datetime(2026, 1, 1)
    minutes = np.sort(draw.integers(0, 8 * 1440, ROWS)).tolist()
    columns = {
        "user_id": draw.integers(0, 300, ROWS) + 10_000,
        "item_id": draw.integers(0, 500, ROWS),
        "request": [f"r{number}" for number in range(ROWS)],
        "price": np.exp(draw.normal(0, 2.5, ROWS)),
        "tags": [
            "|".join(f"t{tag}" for tag in draw.integers(0, 9, 3)) for _ in range(ROWS)
        ],
        "seen_at": [start + datetime.timedelta(minutes=minute) for minute in minutes],
        "is_click": click,
        "is_like": like.astype(int),
        "is_hidden": (draw.random(ROWS) < 0.1).astype(int),
        "seconds_played": click * draw.uniform(1, 60, ROWS),
        "constant": [3] * ROWS,
    }
    return pa.table(columns | more)


def written(table, folder, name):
    if name.endswith("parquet"):
        pq.write_table(table, folder / name)
    else:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if name.endswith("tsv") else ",")
        pyarrow.csv.write_csv(table, folder / name, options)
    return name


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.tsv"])
def test_what_was_planted_is_found_and_the_config_holds(tmp_path, name):
    text, choice = propose([written(planted(), tmp_path, name)], tmp_path)
    config = parse_config(yaml.safe_load(text), name)
    assert (config.data.time, config.data.group) == ("seen_at", "user_id")
    assert str(config.data.split.test) == "2026-01-08"
    tasks = {task.name: task.given for task in config.tasks}
    assert tasks == {"is_click": "", "is_like": "is_click", "is_hidden": ""}
    kinds = {item.name: item.kind for item in config.features}
    assert kinds == {
        "user_id": "categorical",
        "item_id": "categorical",
        "price": "numeric",
        "tags": "categorical",
    }
    assert [f.transform for f in config.features if f.name == "price"] == ["log1p"]
    assert [*choice.leaks] == ["seconds_played"]
    assert {*choice.left_out} == {"request", "seen_at", "constant"}
    found = settle(config, tmp_path)
    assert len(found.rows) == found.read == ROWS


def test_files_of_text_alone_tell_how_text_is_written(tmp_path):
    table = planted()
    texts = pa.table({n: pc.cast(table[n], pa.string()) for n in table.column_names})
    names = [written(table, tmp_path, "a.csv"), written(texts, tmp_path, "b.parquet")]
    config = parse_config(yaml.safe_load(propose(names, tmp_path)[0]), "both")
    assert config.data.delimiter == "," and config.data.group == "user_id"
    tabs = [written(table, tmp_path, "c.tsv"), names[1]]
    config = parse_config(yaml.safe_load(propose(tabs, tmp_path)[0]), "both")
    assert config.data.delimiter == "\t" and config.data.group == "user_id"


def test_ratings_become_a_label_and_a_log_without_times_is_drawn_at_random(tmp_path):
    draw = np.random.default_rng(2)
    table = {"userId": draw.integers(0, 90, ROWS), "movieId": draw.integers(0, 90, ROWS)}
    table["rating"] = draw.integers(1, 6, ROWS) / 1.0
    text, _ = propose([written(pa.table(table), tmp_path, "r.csv")], tmp_path)
    config = parse_config(yaml.safe_load(text), "r")
    (task,) = config.tasks
    assert (task.name, task.at_least) in (("rating", 3.0), ("rating", 4.0))
    assert config.data.split.by_fraction


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("days", [1, 2, 3, 5])
def test_every_split_has_rows_however_few_days_there_are(tmp_path, days, skewed):
    """Of a log whose times are dates."""
    day = np.arange(ROWS) % days
    if skewed:  # nearly all rows are of the last day, or of the first
        day = np.where(np.arange(ROWS) < 20, day, days - 1)
    start = datetime.date(2026, 1, 1)
    dates = pa.array([start + datetime.timedelta(days=int(n)) for n in day])
    name = written(planted(seen_at=dates), tmp_path, "log.parquet")
    text, _ = propose([name], tmp_path)
    config = parse_config(yaml.safe_load(text), name)
    assert config.data.split.by_fraction == (days < 3)
    if days >= 3:
        validation, test = (
            getattr(config.data.split, split) for split in ("validation", "test")
        )
        moments = np.array([str(date) for date in dates.to_pylist()])
        first, second = (str(moment)[:10] for moment in (validation, test))
        assert (moments < first).any() and (moments >= second).any()
        assert ((moments >= first) & (moments < second)).any()


@pytest.mark.parametrize(
    ("days", "said"), [(13, "the last two of 13 days"), (40, "the last two days")]
)
def test_the_last_days_are_those_of_the_last_files(tmp_path, days, said):
    table, start = planted(), datetime.datetime(2026, 1, 1, 12)
    for day in range(days):
        moments = [start + datetime.timedelta(days=day, seconds=n) for n in range(60)]
        part = table.slice(day * 60, 60).drop_columns("seen_at")
        written(part.append_column("seen_at", pa.array(moments)), tmp_path, f"{day:02}.csv")
    text, _ = propose(["*.csv"], tmp_path)
    first, last = (start.date() + datetime.timedelta(days=days - n) for n in (2, 1))
    assert f"split: {{validation: {first}, test: {last}}}  # {said}\n" in text


def test_a_split_holds_rows_enough_where_the_last_days_do_not(tmp_path):
    table = planted()
    start, draw = datetime.datetime(2020, 1, 1), np.random.default_rng(4)
    days = np.sort(draw.integers(0, 1500, ROWS)).tolist()
    times = pa.array([start + datetime.timedelta(days=day) for day in days])
    place = table.column_names.index("seen_at")
    table = table.set_column(place, "seen_at", times)
    text, _ = propose([written(table, tmp_path, "log.parquet")], tmp_path)
    found = settle(parse_config(yaml.safe_load(text), "c"), tmp_path).values("split")
    assert min(found.values()) > 0.09 * ROWS


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1,2,3", "4,5,6"], "seems to have no header line"),
        (["name,word", "a,b", "c,d"], "no column holds 0 and 1"),
        (["click", "1", "0"], "no column is left to be a feature"),
    ],
)
def test_a_log_from_which_nothing_can_be_proposed_is_refused(tmp_path, lines, said):
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=said):
        propose(["x.csv"], tmp_path)


def bought(rows=ROWS, **more) -> pa.Table:
    """A log of positives: who, what of which kind and price, when."""
    draw = np.random.default_rng(8)
    item = draw.integers(0, 120, rows)
    seconds = np.sort(draw.integers(0, 20 * 86_400, rows)) + 1_760_000_000
    columns = {"user_id": draw.integers(0, 300, rows), "item_id": item}
    columns |= {"genre": [f"g{number % 7}" for number in item], "price": item * 1.5}
    return pa.table(columns | {"at": seconds, "quantity": draw.integers(1, 9, rows)} | more)


def test_a_log_of_positives_has_negatives_drawn(tmp_path):
    text, choice = propose([written(bought(), tmp_path, "log.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    asked = config.data.negatives
    assert (asked.item, asked.columns, config.data.group) == (
        "item_id",
        ["genre", "price"],
        "user_id",
    )
    assert config.data.time_unit == "s" and config.data.window == "1d"
    assert config.drawn_task == "chosen" and "item_id is drawn" in choice.why["negatives"]
    assert "quantity" in [feature.name for feature in config.features]


def test_the_window_holds_items_enough_and_a_label_of_ones_is_the_task(tmp_path):
    few = bought(400, liked=[1] * 400)
    text, _ = propose([written(few, tmp_path, "log.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    assert config.data.window == "7d"  # 20 rows a day, of 120 items
    assert [task.name for task in config.tasks] == ["liked"]
    assert "liked" not in [feature.name for feature in config.features]


@pytest.mark.parametrize(
    ("lowest", "loss"), [(0.0, "tweedie"), (0.5, "gamma"), (-1.0, "squared")]
)
def test_how_long_is_a_regression_and_no_feature(tmp_path, lowest, loss):
    watched = np.random.default_rng(9).uniform(0.6, 60, ROWS)
    watched[:9] = lowest
    table = planted(watch_time=watched)
    text, _ = propose([written(table, tmp_path, "log.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    tasks = {task.name: (task.kind, task.loss) for task in config.tasks}
    assert tasks["watch_time"] == ("regression", loss) and len(tasks) == 4
    alone = table.drop_columns(["is_click", "is_like", "is_hidden"])
    text, _ = propose([written(alone, tmp_path, "alone.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    assert config.data.negatives is None and config.train.monitor == "watch_time"


@pytest.mark.parametrize(
    ("name", "is_how_long"),
    [
        *((n, True) for n in ("watch_seconds", "watched_ms", "play_time_ms", "dwell")),
        *((n, True) for n in ("duration_played", "listen_duration", "time_spent_s")),
        *((n, False) for n in ("item_duration_ms", "watch_list_size", "display_ms")),
        *((n, False) for n in ("time_ms", "player_id", "stay", "minimum_play_rank")),
    ],
)
def test_how_long_is_known_by_its_name(name, is_how_long):
    assert bool(AFTERWARDS.search(name)) == is_how_long


def test_texts_of_two_kinds_are_said_to_be_labels_perhaps(tmp_path):
    lines = ["word,sold"] + [f"w{n},{'Yes' if n % 3 else 'No'}" for n in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        InputError, match="sold holds No and Yes: as a label, write 1 and 0"
    ):
        propose(["x.csv"], tmp_path)


@pytest.mark.parametrize(("rows", "batch", "small"), [(900, 64, True), (9000, 256, True)])
def test_a_small_log_gets_a_small_model(tmp_path, rows, batch, small):
    table = bought(rows, is_click=np.arange(rows) % 2)
    text, _ = propose([written(table, tmp_path, "log.csv")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    assert config.train.batch_size == batch
    assert (config.model.embedding_dim == 8) == small


def test_inputs_are_said_as_the_config_finds_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_written(["log/*.csv", "s3://b/x"], Path("conf")) == [
        str(tmp_path / "log" / "*.csv"),
        "s3://b/x",
    ]
    assert as_written(["conf/a.csv", str(tmp_path / "conf" / "b")], Path("conf")) == [
        "a.csv",
        "b",
    ]
    assert as_written(["log/*.csv"], Path()) == ["log/*.csv"]


@pytest.mark.parametrize("ties", [2, 7, 1000])
def test_how_well_a_column_alone_tells_a_label_is_its_auc(ties):
    draw = np.random.default_rng(ties)
    label = (draw.random(500) < 0.3).astype(float)
    score = np.floor(draw.random(500) * ties) + 3 * label
    column = Column("x", pa.array(score), "number", 0.0, ties, score)
    name, auc = strongest(column, {"y": label})
    assert name == "y"
    want = roc_auc_score(label, score)
    assert auc == pytest.approx(max(want, 1 - want))
    column = Column("x", pa.array(-score), "number", 0.0, ties, -score)
    assert strongest(column, {"y": label})[1] == pytest.approx(auc)


def test_ids_that_differ_from_row_to_row_tell_nothing():
    """Means of the labels of their own rows would tell all."""
    label = (np.random.default_rng(3).random(2000) < 0.5).astype(float)
    ids = pa.array([f"i{number}" for number in range(2000)])
    column = Column("x", ids, "text", 0.0, 2000)
    assert strongest(column, {"y": label})[1] < 0.6


def test_the_command_writes_once_and_says_why(tmp_path):
    written(planted(), tmp_path, "log.parquet")
    command = ["init", "--input", str(tmp_path / "log.parquet")]
    command += ["--output", str(tmp_path / "config.yaml")]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert "warning: seconds_played alone tells is_click" in " ".join(said.output.split())
    assert (tmp_path / "config.yaml").read_text().startswith("# Proposed by")
    with pytest.raises(InputError, match="exists already"):
        CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.mark.parametrize(
    ("lists", "kind"),
    [
        ([[0.5, 1.5, -2.5]], "vector"),
        ([[0.5, 1.5], [0.5]], None),
        ([[1, 2, 3]], "categorical"),
    ],
)
def test_lists_of_reals_of_one_length_are_vectors_and_no_ids(lists, kind, tmp_path):
    table = planted()
    column = pa.array([lists[n % len(lists)] for n in range(len(table))])
    table = table.append_column("embedding", column)
    text, choice = propose([written(table, tmp_path, "log.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    found = {item.name: item for item in config.features}.get("embedding")
    assert (found and found.kind) == kind
    assert ("embedding" in choice.left_out) is (kind is None)
    if kind == "vector":
        assert found.length == 3
        settle(config, tmp_path)


def test_names_that_a_config_cannot_have_and_that_meet_are_told_apart(tmp_path):
    table = planted()
    taken = {"null": "price", "true": "is_hidden", "user id": "request", "score": "is_like"}
    for name, of in taken.items():
        table = table.append_column(name, table[of])
    table = table.append_column("", table["item_id"])
    text, _ = propose([written(table, tmp_path, "log.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    names = [each.name for each in (*config.features, *config.tasks)]
    assert len({*names}) == len(names)
    columns = {each.column or each.name: each.name for each in config.features}
    assert columns["null"] == "c_null" and columns["user_id"] == "user_id"
    assert not {"", "null", "true", "score"} & {*names}


def test_a_log_of_no_rows_and_a_label_that_never_is_1_are_said(tmp_path):
    table = planted()
    with pytest.raises(InputError):
        propose([written(table.slice(0, 0), tmp_path, "log.parquet")], tmp_path)
    alone = table.drop_columns(["is_like", "is_hidden", "seconds_played", "constant"])
    at = alone.column_names.index("is_click")
    never = alone.set_column(at, "is_click", pa.array([0] * ROWS))
    with pytest.raises(InputError, match="is_click|label"):
        propose([written(never, tmp_path, "never.parquet")], tmp_path)


def test_an_amount_that_is_0_without_a_label_is_given_that_label(tmp_path):
    table = planted()
    click, like = (table[name].to_numpy().astype(float) for name in ("is_click", "is_like"))
    seconds = np.random.default_rng(3).uniform(1, 60, ROWS)
    found = {}
    for number, (clicked, missing) in enumerate(
        [(click, 0.0), (like, 0.0), (click, np.nan), (np.ones(ROWS), 0.0)]
    ):
        watched = np.where(clicked == 1, seconds, missing)
        text, _ = propose(
            [written(planted(watch_time=watched), tmp_path, f"{number}.parquet")], tmp_path
        )
        tasks = parse_config(yaml.safe_load(text), "c").tasks
        found[number] = next((t.given, t.loss) for t in tasks if t.name == "watch_time")
    assert found[0] == found[2] == ("is_click", "gamma")
    assert found[1] == ("is_like", "gamma") and found[3] == ("", "gamma")
    some = np.where((click == 1) & (np.arange(ROWS) % 3 > 0), seconds, 0.0)
    table = planted(watch_time=some)
    text, _ = propose([written(table, tmp_path, "some.parquet")], tmp_path)
    assert "loss: tweedie, given: is_click}  # 0 in every row without is_click\n" in text


def test_a_place_and_a_side_table_are_hinted_at(tmp_path):
    place = np.random.default_rng(4).integers(1, 9, ROWS)
    table = planted(position=place, ranking_model=place % 3 + 2)
    text, _ = propose([written(table, tmp_path, "log.parquet")], tmp_path)
    (line,) = [line for line in text.splitlines() if "serving" in line]
    assert line.startswith("  - {name: position, kind: categorical}  # 8 values, ")
    assert "add serving: {drop: 1}" in line
    assert "\n  # join: [{input: items.parquet, on: item_id}]  # " in text
    document = yaml.safe_load(text)
    (feature,) = [f for f in document["features"] if f["name"] == "position"]
    feature["serving"] = {"drop": 1}
    parse_config(document, "as the comment says")
    alone = table.drop_columns(["item_id", "position"])
    text, _ = propose([written(alone, tmp_path, "alone.parquet")], tmp_path)
    assert "serving" not in text and "join" not in text


def test_a_release_must_be_better_than_chance(tmp_path):
    text, _ = propose([written(planted(), tmp_path, "log.parquet")], tmp_path)
    config = parse_config(yaml.safe_load(text), "c")
    assert config.gates.auc == {"is_click": config.gates.auc["is_click"]}
    assert config.gates.auc["is_click"].min == 0.52


def test_no_proposed_name_begins_with_an_underscore():
    from steadyrank.pipeline.propose.write import _names

    assert _names(["_a_", "'b'", "c"]) == {"_a_": "c__a_", "'b'": "c__b_", "c": "c"}
