"""What rows amount to: added up, whatever comes first."""

import json

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.pipeline.contract.profile import of_number, of_values, total


def profile(number: int) -> dict:
    draw = np.random.default_rng(number)
    values = pa.array(draw.integers(0, 9 * number + 3, 5).astype(str))
    named = {name: 1 for name in set(values.to_pylist())}
    return {
        "price": of_number(draw.lognormal(0, 3, 5).astype(np.float32)),
        "item": of_values(values, values, known=named, unknown=number, split="test"),
    }


@given(st.permutations(range(6)))
def test_the_order_of_files_changes_no_letter_of_their_sum(order):
    straight = total(profile(number) for number in range(6))
    assert json.dumps(total(profile(n) for n in order)) == json.dumps(straight)
    parts = [total(profile(n) for n in half) for half in (order[:3], order[3:])]
    assert json.dumps(total(parts)) == json.dumps(straight)
    assert straight["price"]["rows"] == 30 == sum(straight["price"]["numbers"].values())
