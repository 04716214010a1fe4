"""Rows for a signature, and answers that agree."""

import numpy as np
import tensorflow as tf

from tests.helpers import naive

SHARED = ["user", "country", "age"]
OUTPUTS = {"click", "like", "watch", "score"}


def assert_same(found, wanted, atol=1e-6):
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=atol)


def raw_of(rows, users):
    missing = -(2**63)
    return {
        "user": tf.constant(
            [missing if r["user"] is None else r["user"] for r in rows], tf.int64
        ),
        "item": tf.constant([r["item"] or "" for r in rows]),
        "tags": tf.constant([r["tags"] or "" for r in rows]),
        "country": tf.constant([users.get(r["user"]) or "" for r in rows]),
        "price": tf.constant([naive.number(r["price"]) for r in rows]),
        "age": tf.constant([naive.number(r["age"]) for r in rows]),
    }
