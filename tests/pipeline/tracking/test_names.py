"""Names and texts as MLflow takes them: its own rules, written down again here."""

import posixpath
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.tracking.names import CUT, cut, name_of, parameters_of


def is_taken(name: str) -> bool:
    """What ``mlflow.utils.validation`` asks of a name, on any system."""
    clean = posixpath.normpath(name) == name and not name.startswith(("..", "/"))
    return bool(re.fullmatch(r"[/\w.\- ]*", name)) and clean and 0 < len(name) <= 250


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("validation_hr@10/next_item", "validation_hr_at_10/next_item"),
        ("loss", "loss"),
        ("losses/a b.c-d", "losses/a b.c-d"),
        ("losses/preço", "losses/preço"),
        ("rate (%)", "rate ___"),
        ("a//b/../c/.", "a/_/b/__/c/_"),
        ("/", "_/_"),
    ],
)
def test_a_name_keeps_what_may_stay(name, known_as):
    assert name_of(name) == known_as


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1) | st.text("./@a ", min_size=240, max_size=260))
def test_every_name_is_taken(name):
    assert is_taken(name_of(name)), name_of(name)


def test_a_text_that_was_cut_says_so():
    assert cut("abcdef", 6) == "abcdef" and cut("abcdefg", 6) == "abc" + CUT


def test_settings_go_by_their_paths_and_names():
    found = parameters_of(
        {
            "train": {"dense": {"clip": "clippy"}, "patience": None, "xla": False},
            "features": [{"name": "user id", "dim": 4}, {"name": "item", "of": ["a", "b"]}],
            "slices": [{"by": ["user"]}],
            "score": "",
            "data": {"input": ["x" * 1000], "join": []},
        }
    )
    inputs = found.pop("data.input")
    assert len(inputs) == 500 and inputs.endswith("x" + CUT)
    assert found == {
        "train.dense.clip": "clippy",
        "train.xla": "false",
        "features.user id.dim": "4",
        "features.item.of": '["a", "b"]',
        "slices": '[{"by": ["user"]}]',
    }
