"""What two or three features are together, and of which ones that can be said."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from steadyrank.models.features import MISSING_INTEGER, Feature
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.export.codes import cross_tensor
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.codes import cross_ids
from tests.helpers import tiny

PARTS = (
    Feature("a", "categorical", raw="string"),
    Feature("b", "hash", raw="integer", hashes=2, hash_buckets=9),
    Feature("c", "weekday", raw="integer", zone="UTC"),
)
MONDAY_MS = 4 * 86_400_000


def test_a_cross_is_the_hash_of_its_texts_and_missing_where_one_of_them_is():
    cross = Feature("x", "cross", hashes=1, hash_buckets=10**6, of=("a", "b", "c"))
    columns = (["ä", None, None, "ä", "b", "ä"], [-5, 1, 1, None, 0, 5])
    moments = [MONDAY_MS, MONDAY_MS, MONDAY_MS, MONDAY_MS, None, MONDAY_MS]
    texts = ["ä\x1f-5\x1f1", "", "", "", "", "ä\x1f5\x1f1"]
    wanted = tf.strings.to_hash_bucket_fast(texts, 10**6).numpy() + 1
    wanted = np.where(np.array(texts) == "", 0, wanted).tolist()
    assert len(set(wanted)) == 3
    kinds = (pa.string(), pa.int64(), pa.int64())
    typed = [pa.array(*c) for c in zip((*columns, moments), kinds, strict=True)]
    assert cross_ids(zip(PARTS, typed, strict=True), cross).tolist() == wanted
    filled = [typed[0].fill_null(""), *(t.fill_null(MISSING_INTEGER) for t in typed[1:])]
    raw = [tf.constant(values.to_pylist()) for values in filled]
    raw[1:] = [tf.cast(values, tf.int64) for values in raw[1:]]
    assert cross_tensor(cross, zip(PARTS, raw, strict=True)).numpy().tolist() == wanted
    assert Feature.from_dict(cross.to_dict()) == cross


MANY = {"name": "tags", "kind": "categorical", "max_values": 2}
PLACE = {"name": "place", "kind": "categorical", "serving": {"drop": 1}}
PRICE = {"name": "price", "kind": "numeric", "buckets": 4}


@pytest.mark.parametrize("other", [MANY, PLACE, PRICE, {**PRICE, "name": "another"}])
def test_what_has_not_one_served_value_is_not_crossed(other):
    cross = {"name": "cross", "kind": "cross", "of": ["user", "price"]}
    cross["of"][1] = other["name"] if other["name"] != "another" else "nobody"
    features = [{"name": "user", "kind": "categorical"}, other, cross]
    said = f"features.cross.of: '{cross['of'][1]}' is no feature to cross.*Allowed: .*user"
    with pytest.raises(InputError, match=said):
        parse_config(tiny.config_document(features=features), "c")


def test_a_cross_is_shared_by_itself():
    document = tiny.config_document(serving={"shared": ["mine"]})
    cross = {"name": "mine", "kind": "cross", "of": ["user", "country"]}
    document["features"].append(cross)
    with pytest.raises(InputError, match="'mine' is a cross, which is shared where all"):
        parse_config(document, "c")
    document["serving"]["shared"] = ["user", "item", "tags", "country", "price", "age"]
    with pytest.raises(InputError, match="differ in some"):
        parse_config(document, "c")
