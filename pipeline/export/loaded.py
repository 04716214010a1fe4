"""An export as it is served: loaded with TensorFlow alone."""

from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from steadyrank.pipeline.examples.example_set import ExampleSet, Schema, vocab_path
from steadyrank.pipeline.export.card import CARD, EXTRA, columns_of, find_version, read_card
from steadyrank.pipeline.export.latency import calls_of
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.files.errors import InputError, fault
from steadyrank.pipeline.preprocess.append import earlier_ids
from steadyrank.pipeline.train.checkpoints import UNREADABLE


class Export:
    """A SavedModel, loaded with TensorFlow alone; of a ranking model, where a kind does not
    say otherwise.

    Attributes:
        path: Its folder.
        card: What was written beside it.
        schema: Its schema.
        columns: Feature -> the raw column that it is read from.
        shared: Names of the features that candidates share.
        call: Signature -> function of NumPy arrays by name.
    """

    SCHEMA: ClassVar = Schema

    def __init__(self, path: Path):
        self.path = find_version(path)
        self.card = read_card(self.path)
        self.columns = columns_of(self.card)
        where = self.path / EXTRA / CARD
        self.schema: Any = self.SCHEMA.from_dict(self.card["schema"], where)
        self.shared = self.card["config"].get("serving", {}).get("shared", [])
        self._ids: dict[str, tf.Tensor] = {}
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except UNREADABLE as error:
            raise fault(f"{self.path} cannot be loaded: {error}", error) from None
        self.call = {**calls_of(self._loaded), ENCODED: self.encoded}

    def encoded(self, features: dict) -> dict:
        """Score encoded features; names that the model does not know are left out."""
        names = [f.name for f in self.schema.features]
        wanted = {name: tf.convert_to_tensor(features[name]) for name in names}
        for name, ids in self._ids.items():
            wanted[name] = tf.gather(ids, wanted[name])
        return self._loaded.signatures[ENCODED](**wanted)

    def nonfinite_weights(self) -> dict[str, int]:
        """Variable -> how many of its numbers are NaN or infinite, where there are any."""
        variables = self._loaded.signatures[ENCODED].variables
        counts = {
            variable.name: int(tf.math.count_nonzero(~tf.math.is_finite(variable)))
            for variable in variables
            if variable.dtype.is_floating
        }
        return {name: count for name, count in counts.items() if count}

    def follow(self, examples: ExampleSet) -> None:
        """Take ids of values that came since the export was trained for unknown ones."""
        if self.schema.fingerprint in examples.schema.ancestors:
            now = {f.name: f for f in examples.schema.features}
            self._ids = {
                f.name: tf.constant(earlier_ids(f, now[f.name], examples.path))
                for f in self.schema.features
                if f.rows < now[f.name].rows
            }

    def require(self, examples: ExampleSet, role: str) -> None:
        """Raise InputError unless the export knows the examples' ids; see ``follow``.

        Its own vocabularies, by which raw values are served, must be theirs: they are
        the first lines of the examples'.
        """
        self.follow(examples)
        require_ids(self.schema, self.path, examples, role)
        for name, size in self.schema.vocabularies.items():
            if size:
                self._require_vocabulary(name, size, examples, role)

    def _require_vocabulary(
        self, name: str, size: int, examples: ExampleSet, role: str
    ) -> None:
        held = vocab_path(self.path / "assets", name)
        known = vocab_path(examples.path / "vocab", name).read_bytes()
        values = held.read_bytes() if held.exists() else b""
        lines = len(values.splitlines())
        if lines != size or not known.startswith(values):
            raise InputError(
                f"{role}: {held} must hold the {size} values of {name} that it was trained "
                f"with, in their order. Received: {lines} lines, or other ones. It was "
                "cut or changed: export again."
            )


def require_ids(schema, path: Path, examples, role: str) -> None:
    """Raise InputError unless an export, by its schema, knows the ids of examples."""
    if not examples.has_ids_of(schema):
        found, wanted = schema.fingerprint, examples.schema.fingerprint
        raise InputError(
            f"{role} {path} was trained on examples with fingerprint {found[:12]}; "
            f"{examples.path} has {wanted[:12]}. Ids would mean other values: evaluate on "
            "the examples it was trained with."
        )
