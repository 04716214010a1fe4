"""Examples in a bucket, read without tensorflow-io: the same, whatever the store does."""

import io
import sys
import warnings

import pytest
import tensorflow as tf

from steadyrank.pipeline.examples import damage
from steadyrank.pipeline.examples.dataset import evaluation_dataset, training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.records import read_records, write_records
from steadyrank.pipeline.files import object_store
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import send
from tests.helpers.failing_store import failing_bucket

pytest.importorskip("moto.server", reason="pip install 'steadyrank[test]'")
PLACE = Url("s3://of-examples/e")
RECORDS = [b"", b"a" * 5, bytes(range(256)) * 300]


def test_records_are_read_as_tensorflow_wrote_them(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for record in RECORDS:
            writer.write(record)
    with (tmp_path / "x").open("rb") as file:
        assert list(read_records(file)) == RECORDS


def test_every_flipped_bit_and_every_cut_is_seen():
    file = io.BytesIO()
    write_records(file, [b"first", b"last"])
    whole, between = file.getvalue(), 12 + 5 + 4
    for place in range(8 * len(whole)):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match="checksum does not match"):
            list(read_records(io.BytesIO(data)))
    for end in range(1, len(whole)):
        cut = io.BytesIO(whole[:end])
        if end == between:  # which the number of records tells
            assert list(read_records(cut)) == [b"first"]
            continue
        with pytest.raises(ValueError, match="checksum does not match"):
            list(read_records(cut))


@pytest.fixture(scope="module")
def store(examples):
    with failing_bucket("of-examples") as failing, pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorflow_io", None)
        send(examples, PLACE)
        yield failing


@pytest.fixture
def there(store):
    """The example set, of which the records are in the bucket."""
    with Staging() as staging:
        yield ExampleSet.open(staging.read_examples(PLACE))
    store.heal()


def batches(examples, splits=("train", "test")) -> list:
    found = []
    with damage.naming_damage(examples):
        if "train" in splits:
            order = {"epoch": 3, "batch_size": 37, "seed": 5, "shuffle_rows": 50}
            found += training_dataset(examples, **order)
        if "test" in splits:
            found += evaluation_dataset(examples, "test", 64)
    return tf.nest.map_structure(lambda tensor: tensor.numpy().tolist(), found)


@pytest.fixture(scope="module")
def wanted(examples):
    return batches(ExampleSet.open(examples))


def test_batches_are_those_of_local_files(there, store, wanted):
    assert there.source == PLACE and not (there.path / "train").exists()
    before = len(store.asked)
    assert str(batches(there)) == str(wanted) and len(wanted) > 5  # NaN is not NaN
    assert len(store.asked) > before + 5


@pytest.mark.parametrize("fault", ["503", "half", "empty"])
def test_a_fault_of_the_store_loses_no_row(there, store, wanted, fault):
    count = store.fail(fault, ())
    batches(there)
    store.fail(fault, range(0, next(count), 3))
    assert str(batches(there)) == str(wanted)


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_store_that_never_answers_ends_with_try_again(there, store, fault, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    count = store.fail(fault, range(10**6))
    with pytest.raises(PassingError, match="could not be read .*s3://of-examples/e/"):
        batches(there)
    assert next(count) < 200


def test_damage_in_the_bucket_is_named(there, store, examples, wanted):
    path = sorted(examples.glob("test/*.tfrecord"))[-1]
    name = path.relative_to(examples).as_posix()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    for content, said in (
        (bytes(data), "is corrupt: a record's checksum does not match"),
        (data[:-5], "is corrupt: a record's checksum does not match"),
        (b"", "it must hold 1 blocks of rows. Received: 0"),
    ):
        object_store.write_bytes(PLACE / name, bytes(content))
        with pytest.raises(InputError, match=said) as caught:
            batches(there, ["test"])
        assert f"{PLACE}/{name}" in str(caught.value)
    object_store.delete([PLACE / name])
    with pytest.raises(InputError, match=f"{name}: no such object"):
        batches(there, ["test"])
    object_store.write_bytes(PLACE / name, path.read_bytes())
    assert str(batches(there)) == str(wanted)


def test_only_what_brings_a_file_system_is_taken(monkeypatch):
    """tensorflow-io for another TensorFlow is imported with a warning, and brings none."""
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    assert object_store.tensorflow_reads("gs://a/b")  # of TensorFlow itself
    assert not object_store.tensorflow_reads("s3://a/b")

    def broken(name):
        warnings.warn("unable to load libtensorflow_io.so", stacklevel=2)

    monkeypatch.setattr(object_store.importlib, "import_module", broken)
    assert not object_store.tensorflow_reads("s3://a/b")
