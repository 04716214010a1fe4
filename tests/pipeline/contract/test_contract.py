"""The rules of the data contract, by hand; and what a preprocessed day is held to."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.models.features import Task
from steadyrank.pipeline import cli
from steadyrank.pipeline.config.contract import Contract
from steadyrank.pipeline.contract import profile, rules
from steadyrank.pipeline.contract.judge import reasons, refused
from steadyrank.pipeline.contract.rules import HOLD, PASS, REFUSE
from steadyrank.pipeline.files.errors import InputError, RefusedError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess.held import count_late
from steadyrank.pipeline.preprocess.plan import Addition
from tests.helpers import tiny
from tests.helpers.profiles import BASE, COLUMNS, day, held, statistics


@pytest.mark.parametrize(
    "part, verdict",
    # before 10 of 100 and 300 of 1000: 0.1 to 0.3; with 0.2 on top 0.5, of 100 rows a
    # deviation of sqrt(.5 * .5 * (1/100 + 1/1100)) = 0.0522, four of them 0.209
    [(30, PASS), (60, PASS), (61, HOLD), (70, HOLD), (71, REFUSE), (100, REFUSE)],
)
def test_a_share_is_refused_where_luck_cannot_have_made_it(part, verdict):
    found = rules.share(part, 100, [(10, 100), (300, 1000)], 0.2)
    assert (found.verdict, found.measured, found.before) == (
        verdict,
        part / 100,
        (0.1, 0.3),
    )


def test_a_share_may_fall_only_where_it_may():
    before = [(900, 1000)]
    assert rules.share(100, 1000, before, 0.2).verdict == REFUSE
    assert rules.share(100, 1000, before, 0.2, falls=False).verdict == PASS
    assert rules.share(1, 0, before, 0.2) is None
    assert rules.share(1, 10, [(0, 0)], 0.2) is None


@pytest.mark.parametrize(
    "part, verdict",
    # before 5 % and 10 %: of 1000 rows 200 are allowed above, and four times
    # sqrt(200) = 56.6 more; below 25 are, and 20 less.  Half of it: 141.42 + 47.57 = 188.99
    # and 35.4 - 23.8 = 11.6.
    [(256, HOLD), (257, REFUSE), (188, PASS), (189, HOLD), (12, PASS), (11, HOLD)]
    + [(5, HOLD), (4, REFUSE)],
)
def test_a_rate_is_judged_by_a_factor(part, verdict):
    found = rules.times(part, 1000, [(50, 1000), (10, 100)], 2.0)
    assert (found.verdict, found.before) == (verdict, (0.05, 0.1))


def test_distances_by_hand():
    one, other = {"-3": 1, "0": 1, "8": 2}, {"0": 3, "9": 1}
    # up to -3: 1/4 and 0; to 0: 2/4 and 3/4; to 8: 1 and 3/4
    assert rules.number_distance(one, other) == 0.25
    assert rules.number_distance(one, {"100": 7}) == 1
    # |1/4 - 3/4| + |1/4 - 0| + |2/4 - 0| + |0 - 1/4|, halved
    assert rules.id_distance({"1": 1, "2": 1, "3": 2}, {"1": 3, "4": 1}) == 0.75
    spread = 1 / 4 + 1 / 4
    assert rules.number_luck(one, other) == math.sqrt(math.log(2e4) / 2 * spread)
    mean = math.sqrt(2 / math.pi * 0.25 * spread)  # two bins of a half each
    far = math.sqrt(math.log(1e4) / 2 * spread)
    assert rules.id_luck({"1": 2, "2": 2}, {"1": 2, "2": 2}) == pytest.approx(mean + far)


@given(st.integers(1, 60), st.integers(20, 2000), st.integers(20, 2000), st.integers(0, 99))
def test_two_samples_of_one_distribution_are_within_luck(bins, n, m, seed):
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.ones(bins))
    one, other = (
        {str(b): int(c) for b, c in enumerate(draw.multinomial(size, shares)) if c}
        for size in (n, m)
    )
    assert rules.id_distance(one, other) <= rules.id_luck(one, other)
    assert rules.number_distance(one, other) <= rules.number_luck(one, other)


def test_what_days_lie_apart_anyway_is_allowed_on_top():
    even, odd = {"0": 5000, "2": 5000}, {"0": 9000, "2": 1000}
    found = rules.distance({"1": 10_000}, [even, odd], 0.25, numbers=False)
    assert (found.verdict, found.measured) == (REFUSE, 1)
    assert found.before == (0, pytest.approx(0.4))
    # 0.55 from both together, of which 0.4 is theirs
    far = {"0": 1500, "2": 8500}
    assert rules.distance(far, [even, odd], 0.25, numbers=False).verdict == HOLD
    assert rules.distance(far, [even | {"0": 9000}], 0.25, numbers=False).verdict == REFUSE
    assert rules.distance({}, [even], 0.25, numbers=False) is None


def bins(values) -> dict:
    return profile.number_bins(np.array(values, np.float32))


def test_a_number_a_thousand_times_as_large_is_another_unit():
    draw = np.random.default_rng(1)
    days = [draw.lognormal(3, 1, 500) for _ in range(4)]
    found = rules.scale(bins(days[0] * 1000), [bins(d) for d in days[1:]], 10)
    assert found.verdict == REFUSE
    assert found.measured == pytest.approx(1000, rel=0.2)
    assert rules.scale(bins(days[0] / 1000), [bins(days[1])], 10).verdict == REFUSE
    assert rules.scale(bins(-days[0]), [bins(days[1])], 10).verdict == PASS
    assert rules.scale(bins(days[0] * 5), [bins(days[1])], 10).verdict == HOLD
    assert rules.scale(bins(np.zeros(500)), [bins(days[1])], 10) is None


def test_a_number_of_one_value_in_another_unit():
    assert rules.scale(bins([7] * 50), [bins([7] * 50)], 10).verdict == PASS
    assert rules.scale(bins([7000] * 50), [bins([7] * 50)], 10).verdict == REFUSE


def test_a_common_value_must_not_vanish():
    before = [(200, 1000), (100, 1000)]  # a tenth at least
    # of 1000, 100 are expected: 10 and fewer are hardly any
    assert rules.vanished(10, 1000, before, 0.05).verdict == REFUSE
    assert rules.vanished(11, 1000, before, 0.05).verdict == PASS
    # of 150, 15 are expected, and four deviations are 15.5: none may be there by luck
    assert rules.vanished(0, 150, before, 0.05).verdict == PASS
    assert rules.vanished(0, 1000, [*before, (4, 100)], 0.05) is None


def test_bins_are_in_the_order_of_numbers():
    values = np.array([-1e30, -3, -1e-3, 0, -0.0, 1e-3, 1, 1.03, 1.07, 2, 3, 1e30])
    keys = [int(*profile.number_bins(np.array([v], np.float32))) for v in values]
    assert keys == sorted(keys) and keys[3] == keys[4] == 0
    assert keys[6] == keys[7] < keys[8]
    assert keys[9] - keys[6] == profile.OCTAVE


@given(st.lists(st.sampled_from(["a", "b", "é", "", None])), st.integers(0, 5))
def test_ids_are_counted_the_same_whole_and_in_parts(values, cut):
    def found(some):
        array = pa.array(some, pa.string())
        known = {"a": some.count("a")}
        return profile.of_values(array, array, known=known, unknown=0, split="test")

    whole = found(values)
    assert profile.total([found(values[:cut]), found(values[cut:])]) == whole
    assert whole["missing"] == values.count(None)
    assert sum(whole["ids"].values()) == whole["values"] == len(values) - whole["missing"]


def test_labels_are_counted_in_their_sample_spaces():
    tasks = (Task("click"), Task("like", given="click"), Task("watch", "regression"))
    labels = {"click": [1, 1, 0, np.nan], "like": [1, 0, 0, 1], "watch": [0, 5, np.nan, 7]}
    arrays = {name: np.array(v, np.float32) for name, v in labels.items()}
    found = profile.of_labels(arrays, tasks)
    assert found["click"] == {"rows": 3, "positives": 2}
    assert found["like"] == {"rows": 2, "positives": 1}
    assert (found["watch"]["rows"], found["watch"]["positives"]) == (3, 2)


def test_rows_beside_those_of_a_later_day_are_late():
    rows = {"2024-03-01": 3, "2024-03-04": 2, "2024-03-05": 4, "2024-03-06": 90}
    assert count_late(rows) == {"late/2024-03-06": 5, "timely/2024-03-06": 94}
    assert count_late({"2024-03-01": 5, "2024-03-03": 5, "2024-03-04": 5}) == {}
    assert count_late({}) == count_late({"all": 4}) == {}


def test_a_day_like_those_before_passes():
    for seed in range(100, 130):
        found = held({"2024-03-06": day(seed)})
        assert found["verdict"] == PASS, reasons(found) + reasons(found, HOLD)
    assert found["against"] == sorted(BASE["days"])
    assert {r["rule"] for r in found["results"]} >= {"rows", "missing", "distance", "scale"}


@pytest.mark.parametrize(
    "planted, said",
    [
        ({"missing": 0.3}, ["feature price: 3"]),
        ({"times": 1000}, ["feature price: numbers are 9", "another unit?"]),
        ({"times": 1e-3}, ["feature price: numbers are 1 / ", "another unit?"]),
        ({"without": "fr"}, ["feature country: 0.0 % of the values are 'fr', where"]),
        ({"clicks": 0.4}, ["task click: "]),
        ({"swap": True}, ["like those of price, swapped?", "like those of age, swapped?"]),
    ],
)
def test_what_is_planted_is_refused_by_name(planted, said):
    found = held({"2024-03-06": day(7, **planted), "2024-03-07": day(8)})
    assert found["verdict"] == REFUSE
    assert found["days"] == {"2024-03-06": REFUSE, "2024-03-07": PASS}
    assert refused(found) == ["2024-03-06"]
    for words in said:
        assert any(words in reason for reason in reasons(found)), reasons(found)
    names = {r["name"] for r in found["results"] if r["verdict"] == REFUSE}
    assert names <= {"price", "age"} if planted.get("swap") else len(names) == 1


def test_days_that_the_base_knows_are_not_judged_again():
    found = held({"2024-03-05": day(7, missing=0.9)})
    assert (found["verdict"], found["days"], found["results"]) == (PASS, {}, [])


def test_what_was_meant_is_exempt_or_holds_since():
    bad = {"2024-03-06": day(7, times=1000)}
    assert held(bad)["verdict"] == REFUSE
    assert held(bad, exempt=["price"])["verdict"] == PASS
    assert held(bad, since="2024-03-06")["results"] == []
    assert held(bad, distance=None, scale=None)["verdict"] == PASS
    after = {"columns": COLUMNS, "days": {**BASE["days"], **bad}}
    now = {"2024-03-07": day(9, times=1000)}
    assert held(now, base=after, since="2024-03-06")["verdict"] == PASS
    assert held({"2024-03-07": day(9)}, base=after, days=1)["verdict"] == REFUSE


def with_(path: str, value, seed=6) -> dict:
    """A day of which one thing is another."""
    found = day(seed)
    *parents, last = path.split(".")
    node = found
    for parent in parents:
        node = node[parent]
    return found | {last: value} if not parents else (node.update({last: value}) or found)


LIMITS = {  # what breaks each of them, and by the skin of its teeth does not
    "rows": (("rows", 5000), ("rows", 4000)),
    "missing": (("features.age.missing", 200), ("features.age.missing", 100)),
    "unseen": (("features.country.unseen", 400), ("features.country.unseen", 300)),
    "label_rate": (("tasks.click.positives", 400), ("tasks.click.positives", 190)),
    "distance": (("features.country.ids", {"63": 1000}), ("rows", 1000)),
    "scale": (("features.age.numbers", {"2400": 1000}), ("rows", 1000)),
    "vanished": (("features.country.named", {"de": 600}), ("rows", 1000)),
    "duplicates": (("repeated", 500), ("repeated", 111)),
    "late": (("late", 500), ("late", 111)),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_every_limit_refuses_and_can_be_left_out(limit):
    both = {"late": 0, "timely": 1000}
    base = {"columns": COLUMNS, "days": {d: p | both for d, p in BASE["days"].items()}}
    broken, kept = ({"2024-03-06": both | with_(*how)} for how in LIMITS[limit])
    broken["2024-03-06"].update({"late": 500} if limit == "late" else {})
    kept["2024-03-06"].update({"late": 111} if limit == "late" else {})
    found = held(broken, base=base)
    rules_ = {r["rule"] for r in found["results"] if r["verdict"] == REFUSE}
    assert limit in rules_
    found = held(broken, base=base, **{limit: None})
    assert limit not in {r["rule"] for r in found["results"]}
    assert held(kept, base=base)["verdict"] != REFUSE
    keys = {*Contract.model_fields} - {"against", "days", "since", "exempt"}
    assert keys == {*LIMITS}


def test_columns_that_change_their_kind_refuse_and_others_are_said():
    columns = {"price": {"type": "string", "kind": "text"}}
    found = held({"2024-03-06": day(6)}, columns)
    assert refused(found) == ["2024-03-06"]
    assert reasons(found) == ["column price is string, and was double"]
    found = held({"2024-03-06": day(6)}, {"size": {"type": "int8", "kind": "number"}})
    assert found["verdict"] == HOLD
    said = ["column price is gone: it was double", "column size is new: int8"]
    assert reasons(found, HOLD) == said


def test_a_profile_survives_its_file():
    assert json.loads(json.dumps(BASE)) == BASE


def test_a_set_keeps_what_its_days_amount_to(rows, first):
    held = statistics(first)["contract"]
    assert held["columns"]["price"] == {"type": "double", "kind": "number"}
    assert [*held["days"]] == tiny.DATES[:4]
    for place, date in enumerate(tiny.DATES[:4]):
        ours, found = rows[60 * place : 60 * place + 60], held["days"][date]
        assert found["rows"] == 60 and found["repeated"] == 0
        assert not found.get("late")
        prices = [row["price"] for row in ours if row["price"] is not None]
        assert found["features"]["price"] == {
            "rows": 60,
            "missing": 60 - len(prices),
            "values": len(prices),
            "numbers": profile.number_bins(np.array(prices, np.float32)),
        }
        tags = [tag for row in ours for tag in (row["tags"] or "").split("|") if tag]
        named = found["features"]["tags"]["named"]
        assert named == {tag: tags.count(tag) for tag in named} and len(named) == 8
        assert found["features"]["tags"]["missing"] == sum(not r["tags"] for r in ours)
        clicks = [row["click"] for row in ours]
        assert found["tasks"]["click"] == {"rows": 60, "positives": sum(clicks)}
        assert ("asked" in found["features"]["item"]) == (place == 3)


def test_days_that_are_added_are_held_and_kept(first, second):
    verdict = json.loads((second / "manifest.json").read_text())["contract"]
    assert verdict["verdict"] == PASS
    assert verdict["against"] == tiny.DATES[:4]
    assert verdict["days"] == {tiny.DATES[4]: PASS, tiny.DATES[5]: PASS}
    days = statistics(second)["contract"]["days"]
    assert [*days] == tiny.DATES
    before = statistics(first)["contract"]["days"]
    assert {day: days[day] for day in before} == before


@pytest.fixture(scope="module")
def refused_log(tmp_path_factory, rows):
    """The last day in another unit, and with a third of its rows twice."""
    folder = tmp_path_factory.mktemp("refused")
    last = [row | {"price": (row["price"] or 7) * 1000} for row in rows[300:]]
    tiny.write_log(folder, [*rows[:300], *last, *last[:30]])
    return folder


def test_a_refused_day_makes_no_examples(refused_log, first, tmp_path):
    config = tiny.config_on(tiny.DATES[5])
    with pytest.raises(RefusedError, match="feature price: numbers are") as error:
        preprocess(config, refused_log, tmp_path / "out", addition=Addition(first))
    assert error.value.days == (tiny.DATES[5],)
    assert any("33.3 % of the rows are there twice" in r for r in error.value.reasons)
    assert not [*tmp_path.iterdir()]


def test_a_whole_log_is_held_to_the_set_that_the_config_names(refused_log, first, capsys):
    config = tiny.config_document(contract={"against": str(first), "exempt": ["price"]})
    config["data"]["split"] = {"validation": 0.3, "test": tiny.DATES[5]}
    (refused_log / "c.yaml").write_text(yaml.safe_dump(config))
    flags = ["--config", refused_log / "c.yaml", "--output", refused_log / "out"]
    with pytest.raises(SystemExit) as end:
        cli.main(["preprocess", *map(str, flags)])
    assert end.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"refuses {tiny.DATES[5]}: {tiny.DATES[5]}: 33.3 % of the rows" in said
    assert "price" not in said


def test_what_is_exempt_must_be_there(log, first, tmp_path):
    config = tiny.config_on(tiny.DATES[5], contract={"exempt": ["prise"]})
    with pytest.raises(InputError, match="contract.exempt: 'prise' is no column"):
        preprocess(config, log, tmp_path / "out", addition=Addition(first))
