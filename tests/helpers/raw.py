"""Raw rows, as a client would send them."""

import tensorflow as tf

from tests.helpers import naive


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
