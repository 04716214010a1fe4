"""Vocabularies that live: what is dead leaves its row, what is alive does not move."""

import datetime
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import (
    ExampleSet,
    Schema,
    counts_path,
    vocab_path,
)
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess, train
from steadyrank.pipeline.kinds.ranking.model import compiled_model, shared_rows
from steadyrank.pipeline.preprocess import counts
from steadyrank.pipeline.preprocess.plan import Addition, Plan
from steadyrank.pipeline.preprocess.vocabulary import _living, known_values
from steadyrank.pipeline.train.warm_start import WarmStart, continue_from, moved_lines
from tests.helpers import tiny
from tests.helpers.tiny import DATES as DAYS

START = datetime.date(2024, 3, 1)


def day(number: int) -> str:
    return (START + datetime.timedelta(number)).isoformat()


class Rows:
    def __init__(self, values):
        self.values = values

    def arrays(self, _):
        yield self.values


def counted(values, night: int, horizon: int, folder, base):
    """What the job counts in one night."""
    horizons = {"f": day(horizon)}
    count = counts.Count(lambda rows: {"f": rows.arrays("f")}, str(folder), horizons)
    dated = {"f": day(night - 1)}
    parts = [part for _, part in counts.seed("f", base, str(folder), dated)]
    rows = Rows(pa.array(values, pa.int64()))
    parts += [part for _, part in count.process((f"train/{day(night)}/00000", rows))]
    return counts.add_up(("f", parts), {"f": "integer"}, str(folder), horizons)[1]


class Naive:
    """The same in plain Python."""

    def __init__(self, least: int, most: int | None):
        self.least, self.most, self.table, self.seen = least, most, [], {}

    def night(self, values, night: int, horizon: int) -> int:
        """The rows of the dead that were used again."""
        for value in values:
            self.seen[value] = [self.seen.get(value, [0])[0] + 1, night]
        self.seen = {v: both for v, both in self.seen.items() if both[1] >= horizon}
        free = [n for n, value in enumerate(self.table) if value not in self.seen]
        new = [v for v, (n, _) in self.seen.items() if n >= self.least]
        new = sorted({*new} - {*self.table}, key=lambda v: (-self.seen[v][0], v))
        reused = min(len(free), len(new))
        for place, value in zip(free, new, strict=False):
            self.table[place] = value
        room = len(new) if self.most is None else max(self.most - len(self.table), 0)
        self.table += new[reused:][:room]
        return reused


@settings(max_examples=40)
@given(
    nights=st.lists(st.lists(st.integers(0, 14), max_size=12), min_size=1, max_size=12),
    expires=st.integers(1, 4),
    least=st.integers(1, 2),
    most=st.none() | st.integers(3, 9),
)
def test_nights_of_churn(nights, expires, least, most, tmp_path_factory):
    folder, naive, alive = tmp_path_factory.mktemp("nights"), Naive(least, most), 0
    base, table = None, None
    for night, values in enumerate(nights):
        horizon, place = night + 1 - expires, folder / str(night)
        found = counted(values, night, horizon, place, base)
        known, said = known_values(
            found, least, "integer", str(place), old=table, most=most, living=[found]
        )
        before, reused = list(naive.table), naive.night(values, night, horizon)
        kept = pq.read_table(counts_path(place, "f")).to_pydict()
        kept = dict(zip(kept["value"], kept["count"], strict=True))
        assert kept == {v: n for v, (n, _) in naive.seen.items()}
        table = pa.concat_arrays([pa.array([], pa.int64()), *known.arrays()])
        assert table.to_pylist() == naive.table and said.get("reused", 0) == reused
        for line, value in enumerate(before):  # survivors do not move
            assert naive.table[line] == value or value not in naive.seen
        assert reused or naive.table[: len(before)] == before
        alive = max(alive, len(naive.seen))
        assert len(table) <= min(alive, most or alive)
        base = place


def living(number: int, rows=(), **changes):
    """A config that tests one day, whose items die after two days."""
    document = tiny.config_document(data__split={"validation": 0.3, "test": DAYS[number]})
    (item,) = (f for f in document["features"] if f["name"] == "item")
    item |= {"expire_after": "2d", "min_count": 1, "oov_buckets": 1, **changes}
    return parse_config(document | {"contract": None}, "c")


def rows_with_churn(rows):
    """Rows of whose items ten are of two days each, and one of all."""
    for row in rows:
        number = row["number"]
        now = number * tiny.DAYS // len(rows)
        own = number % 11
        item = "always" if own == 10 else f"d{(now + own % 2) // 2}-{own}"
        yield row | {"item": item}


@pytest.fixture(scope="module")
def sets(rows, tmp_path_factory):
    """Before the fourth day, and with the fourth and fifth added."""
    folder = tmp_path_factory.mktemp("living")
    tiny.write_log(folder / "log", list(rows_with_churn(rows)))
    first, second = folder / "first", folder / "second"
    preprocess(living(3), folder / "log", first, addition=Addition(until=DAYS[3]))
    preprocess(living(5), folder / "log", second, addition=Addition(first))
    return first, second


def lines(path) -> list[str]:
    return vocab_path(path / "vocab", "item").read_text().splitlines()


def test_survivors_keep_their_rows_and_the_dead_give_theirs(sets, rows):
    old, new = map(lines, sets)
    made = list(rows_with_churn(rows))
    window = {n: {r["item"] for r in made if r["number"] * tiny.DAYS // 360 in n}
              for n in ((1, 2), (3, 4))}  # fmt: skip
    assert {*old} == window[1, 2] and window[3, 4] <= {*new}
    moved = [n for n, value in enumerate(old) if new[n] != value]
    assert moved and not {old[n] for n in moved} & window[3, 4]
    assert len(new) == max(len(old), len(window[3, 4]))
    assert new.index("always") == old.index("always")


def test_no_window_holds_an_id_of_a_dead_value(sets, rows):
    found, made = ExampleSet.open(sets[1]), list(rows_with_churn(rows))
    assert list(found.windows("train")) == DAYS[3:5]
    new, wanted = lines(sets[1]), []
    for night in (3, 4):
        wanted += [r["item"] for r in made if r["number"] * tiny.DAYS // 360 == night]
    dataset = evaluation_dataset(found, "train", 1000)
    ids = np.concatenate([features["item"].numpy() for features, _, _ in dataset])
    assert sorted(new[n - 2] for n in ids) == sorted(wanted)


def test_what_read_the_old_ids_reads_none_of_the_new(sets):
    old, new = map(ExampleSet.read_schema, sets)
    assert new.ancestors == () and new.earlier == (old.fingerprint,)
    assert not ExampleSet.open(sets[1]).has_ids_of(old)


def test_a_warm_start_leaves_rows_that_are_used_again_as_a_fresh_model_has_them(
    sets, tmp_path
):
    first, second = sets
    train(living(3), first, tmp_path / "train")
    before = Schema.from_dict(WarmStart.of(tmp_path / "train", []).schema, "x")
    schema = agree(living(5), ExampleSet.read_schema(second))
    moved = moved_lines(before, schema, (tmp_path / "train" / "vocab", second / "vocab"))
    old, new = map(lines, sets)
    assert moved == {"item": [n for n, v in enumerate(old) if new[n] != v]}
    start = WarmStart.of(tmp_path / "train", [DAYS[4]])
    fresh, model = (compiled_model(living(5), schema, steps=9) for _ in range(2))
    continue_from(model, shared_rows(model, before, moved), start)
    (table,), (untouched,) = model.embedding_variables, fresh.embedding_variables
    place = sum(f.rows for f in schema.features[:1]) + 2
    for line in range(len(old)):
        same = (table[place + line].numpy() == untouched[place + line].numpy()).all()
        assert same == (line in moved["item"])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"expire_after": "36h"}, "count of days"),
        ({"max_size": 0}, "max_size"),
        ({"serving": {"drop": "i1"}}, "leave serving"),
    ],
)
def test_what_cannot_live_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        living(3, **changes)


def test_the_dead_are_told_by_days():
    document = tiny.config_document(data__window=None)
    document["features"][0]["expire_after"] = "30d"
    with pytest.raises(InputError, match="user.expire_after: counts days.*data.window"):
        parse_config(document, "c")


def test_what_a_history_holds_is_alive():
    document = tiny.config_document()
    item = next(f for f in document["features"] if f["name"] == "item")
    item["expire_after"] = "2d"
    seen = {"name": "seen", "kind": "sequence", "of": "item", "length": 3}
    document["features"].append(seen)
    plan = types.SimpleNamespace(config=parse_config(document, "c"))
    found = {f.name: Plan.horizon_of(plan, f) for f in plan.config.features}
    # training ends with 2024-03-04
    assert {n for n, first in found.items() if first == "2024-03-03"} == {"item", "seen"}
    assert {*found.values()} == {None, "2024-03-03"}
    (own,) = (f for f in plan.config.features if f.name == "item")
    assert _living(own, plan, {"item": 1, "seen": 2, "user": 3}) == [1, 2]
