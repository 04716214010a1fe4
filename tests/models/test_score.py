"""The score formula: parsed, checked and computed as Python would."""

import math

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.models.score import FUNCTIONS, evaluate_score, parse_score
from steadyrank.models.serving_head import FUNCTIONS as TENSORFLOW

PYTHON = {
    "exp": math.exp,
    "log1p": math.log1p,
    "maximum": max,
    "minimum": min,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "sqrt": math.sqrt,
}
FORMULAS = [
    "a * b",
    "a ** 2.0 * b ** 0.5",
    "a - b - 0.25",
    "a - (b - 0.25)",
    "2 ** a ** b",
    "-a ** 2 + b / 4",
    "exp(-a) + log1p(b)",
    "maximum(a, b) - minimum(a, 0.3) * sqrt(b)",
    "sigmoid(a - b) * 3",
    "1 / (1 + a)",
]


def test_every_function_is_there():
    assert set(FUNCTIONS) == set(TENSORFLOW) == set(PYTHON)


@pytest.mark.parametrize("formula", FORMULAS)
@given(a=st.floats(0.01, 1), b=st.floats(0.01, 1))
def test_a_formula_means_what_it_means_in_python(formula, a, b):
    tree = parse_score(formula, ["a", "b"])
    expected = eval(formula, {"__builtins__": {}}, {**PYTHON, "a": a, "b": b})
    found = evaluate_score(tree, {"a": a, "b": b}, PYTHON)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_tensorflow_computes_the_same(formula):
    tree = parse_score(formula, ["a", "b"])
    a, b = [0.1, 0.9], [0.7, 0.2]
    outputs = {"a": tf.constant(a), "b": tf.constant(b)}
    found = evaluate_score(tree, outputs, TENSORFLOW).numpy()
    for i in range(2):
        names = {**PYTHON, "a": a[i], "b": b[i]}
        assert found[i] == pytest.approx(eval(formula, {}, names), rel=1e-5)


def test_a_task_may_bear_a_functions_name():
    tree = parse_score("exp(exp)", ["exp"])
    assert evaluate_score(tree, {"exp": 1.0}, PYTHON) == pytest.approx(math.e)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("a * c", "'c'"),
        ("a.b", "a.b"),
        ("[a]", "a"),
        ("a if b else 1", "score may hold"),
        ("a < b", "score may hold"),
        ("f'{a}'", "score may hold|numbers only"),
        ("(a := 1)", "score may hold"),
        ("1j * a", "numbers only"),
        ("None", "numbers only"),
        ("~a", "score may use"),
        ("a // b", "score may use"),
        ("a * (1 / 0)", "must be defined"),
        ("a @ b", "score may use"),
        ("exp()", "exp takes 1 arguments. Received: 0"),
        ("maximum(a, b, a)", "maximum takes 2 arguments. Received: 3"),
        ("a.exp(b)", "plain arguments"),
        ("", "must be a formula"),
        ("a b", "at character"),
    ],
)
def test_what_is_not_allowed_is_named(formula, said):
    with pytest.raises(ValueError, match=said):
        parse_score(formula, ["a", "b"])
