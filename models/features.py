"""Features and tasks by name: the one vocabulary all floors share. No TensorFlow here.

``Feature`` and ``Task`` say what the user asked for together with what preprocessing
learned from the training split (vocabulary sizes, statistics). They are what
``schema.json`` holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from steadyrank.models.ids import Ids

MISSING_INTEGER = -(2**63)  # what a raw integer feature holds where a value is missing
CLOCKS = {
    "hour": 24,
    "weekday": 7,
}  # what a clock shows of a moment, and how many there are


@dataclass(frozen=True)
class Feature:
    """One input of a model.

    Attributes:
        name: The feature's name, and its key in every batch.
        kind: ``"categorical"``, ``"numeric"``, ``"sequence"``: what came before, oldest
            first, as values of another feature, ``table``; ``"hash"``: ids without a
            vocabulary; ``"hour"`` or ``"weekday"`` of a moment; ``"cross"``: hashes of
            the values of others together.
        dim: Width of the embedding; for a numeric feature 0, unless it is bucketized.
        raw: Type of the raw value: ``"string"``, ``"integer"`` or ``"float"``.
        separator: Splits a raw string into several values; ``""``: it is one value.
        max_values: Values kept of a multi-valued feature, the first ones, of a sequence
            the last ones; 0: single-valued.
        pooling: ``"mean"`` or ``"sum"`` over the values of a multi-valued feature; a
            sequence is not pooled, but encoded.
        oov_buckets: Rows shared by values outside of the vocabulary.
        vocabulary_size: Known values; ``ids`` says which row is whose.
        transform: ``"identity"``, ``"log1p"`` of a numeric value: sign(x) log(1 + |x|), or
            ``"quantile"``: the share of the training split that lies below it.
        quantiles: Of ``"quantile"``, learned: increasing numbers in raw units, at equal
            steps of that share from 0 to 1, as ``levels`` says where some were equal.
        levels: Their shares; as many.
        mean, std: Of the transformed value over the training split; where a number is
            scaled by its range, the lowest value in place of the mean, and the range in
            place of the deviation.
        centre: The mean where ``mean`` is the lowest value; None: it is ``mean``.
        boundaries: Increasing inner boundaries of the buckets, in raw units; empty: none.
        reference: Of a feature that training alone reads, what served rows are taken to
            have, as the examples hold it: an id, or a number; None: it is served.
        width: Of a vector, a number of kind ``"numeric"`` that has several: how many;
            0: it is one.  One mean and deviation hold for all of them.
        clip: Lowest and highest value that a plain number is taken for, before its
            transform, in raw units; empty: any.
        table: Name of the feature whose vocabulary and embeddings it shares; ``""``: it
            has its own.
        hashes: Of kind ``"hash"`` or ``"cross"``: ids of each value.
        hash_buckets: Rows of the table for each of them.
        zone: Of an hour or a weekday, the name of the time zone whose clock shows it.
        moments: How the log has these moments: the unit of whole numbers, the zone of
            texts that do not say theirs, and the form of texts; empty: it is no moment.
        of: Of a cross, the names of the features that it is of; it has no raw value of
            its own.
    """

    name: str
    kind: str
    dim: int = 0
    raw: str = "float"
    separator: str = ""
    max_values: int = 0
    pooling: str = "mean"
    oov_buckets: int = 1
    vocabulary_size: int = 0
    transform: str = "identity"
    mean: float = 0.0
    std: float = 1.0
    centre: float | None = None
    boundaries: tuple[float, ...] = ()
    table: str = ""
    clip: tuple[float, ...] = ()
    width: int = 0
    hashes: int = 0
    hash_buckets: int = 0
    zone: str = ""
    moments: tuple[str, ...] = ()
    reference: float | None = None
    quantiles: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    of: tuple[str, ...] = ()

    @property
    def has_vocabulary(self) -> bool:
        """Whether its ids are those of known values."""
        return self.kind in ("categorical", "sequence")

    @property
    def ids_per_row(self) -> int:
        """How many ids a row has; 0: one that is no list."""
        return self.max_values or (self.hashes if self.hashes > 1 else 0)

    @property
    def inputs(self) -> int:
        """Columns of a plain number in what a trunk reads: its values, and one where none
        is known."""
        return max(self.width, 1) + 1

    @property
    def ids(self) -> Ids:
        """Which row is which value's."""
        if self.has_vocabulary or self.kind == "numeric":
            return Ids(self.oov_buckets, self.vocabulary_size)
        return Ids(0, CLOCKS.get(self.kind) or self.hashes * self.hash_buckets)

    @property
    def rows(self) -> int:
        """Rows of the feature's embedding table; 0 where it has none."""
        if self.kind != "numeric":
            return self.ids.rows
        return len(self.boundaries) + 2 if self.boundaries else 0  # row 0: missing

    @classmethod
    def from_dict(cls, fields: dict) -> "Feature":
        """The inverse of ``to_dict``.

        Args:
            fields: What a schema holds of it; what is left out has its default.
        """
        names = ("boundaries", "clip", "moments", "quantiles", "levels", "of")
        several = {name: tuple(fields.get(name, ())) for name in names}
        return cls(**{**fields, **several})

    def to_dict(self) -> dict:
        """Without what came later where it is not used: so do older examples read."""
        later = {"table": "", "centre": None, "clip": (), "width": 0}
        later |= {"hashes": 0, "hash_buckets": 0, "zone": "", "moments": ()}
        later |= {"reference": None}
        later |= {"quantiles": (), "levels": (), "of": ()}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in later or value != later[name]
        }


def served_features(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Those that an export reads.

    Args:
        features: Learned ones.
    """
    return tuple(feature for feature in features if feature.reference is None)


def raw_features(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Those that raw rows have a value of: all but crosses.

    Args:
        features: Of a schema.
    """
    return tuple(feature for feature in features if not feature.of)


@dataclass(frozen=True)
class Task:
    """One output of a model.

    Attributes:
        name: The task's name, and its key in every batch, loss and metric.
        kind: ``"binary"`` (a probability) or ``"regression"`` (a value).
        given: The binary task whose positives are this one's sample space; ``""``: all
            rows are.
        transform: Of a regression label: ``"identity"`` or ``"log1p"``.
        weight: Fixed weight of the task's loss.
        mean, std: Of the transformed label over its sample space in the training split:
            for a binary task the rate of positives. A model starts from them.
        negative_rate: The fraction of a binary task's negatives that the log kept, all
            positives being there. The model learns the log as it is; what it serves is
            corrected to the rate of 1. Evaluation data are taken to be sampled alike:
            measures of the probability's size weigh a negative by 1 / rate.
        positive_weight: How many negatives a positive counts for in a binary task's
            loss.  What is served is corrected to 1.
        sample_weight: The column that says how much each row counts in the task's loss;
            ``""``: all count alike.
        loss: Of a regression task, one of ``LOSSES``.
        tweedie_power: Of the loss ``"tweedie"``.
        space: Of a task that is given another, which rows train it: ``"given"``: those of
            its sample space; ``"all"``: those of the whole chain, by the probability of all
            that it takes (ESMM).  What is served is the same: given that one.
        ranking: Loss of the order within groups, beside a binary task's cross entropy:
            one of ``components.ranking_losses``, or ``"none"``.
        ranking_weight: Of that loss.
        soft_label: The column with what an earlier model foretold of the task, as that
            model serves it; ``""``: none is learned from.
        soft_weight: Its share of the loss, the label's being the rest.
        smearing: How a value that was not learned as it is gets the observed mean:
            ``"factor"``, or ``"levels"``, a curve.
    """

    name: str
    kind: str = "binary"
    given: str = ""
    transform: str = "identity"
    weight: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    negative_rate: float = 1.0
    positive_weight: float = 1.0
    sample_weight: str = ""
    loss: str = "squared"
    tweedie_power: float = 1.5
    space: str = "given"
    ranking: str = "none"
    ranking_weight: float = 1.0
    soft_label: str = ""
    soft_weight: float = 0.5
    smearing: str = "factor"

    @classmethod
    def from_dict(cls, fields: dict) -> "Task":
        """The inverse of ``to_dict``.

        Args:
            fields: What a schema holds of it; what is left out has its default.
        """
        return cls(**fields)

    def to_dict(self) -> dict:
        """Without what came later where it is not used: so do older examples read."""
        later = {"negative_rate": 1.0, "positive_weight": 1.0, "sample_weight": ""}
        later |= {"loss": "squared", "tweedie_power": 1.5, "space": "given"}
        later |= {"ranking": "none", "ranking_weight": 1.0}
        later |= {"soft_label": "", "soft_weight": 0.5, "smearing": "factor"}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in later or value != later[name]
        }


GROUP = "/group"  # beside the labels: the rows' groups, where a task is ranked within them
SOFT = "/soft/"  # likewise, before a task's name: what an earlier model foretold of it


# of a regression task; all but the first learn the logarithm of a mean above 0
LOSSES = ("squared", "tweedie", "gamma", "weighted_logistic")


def transform_numbers(transform: str, values, array):
    """A number as a model sees it before standardisation.

    Args:
        transform: ``"identity"`` or ``"log1p"``: sign(x) log(1 + |x|).
        values: NumPy array or tensor.
        array: What computes: ``numpy``, or ``tensorflow.math``.

    Returns:
        The transformed values.
    """
    if transform == "identity":
        return values
    return array.sign(values) * array.log1p(array.abs(values))


def plain_numbers(feature: Feature, values, array):
    """A feature's numbers as a model sees them before standardisation, none missing.

    Args:
        feature: A plain number.
        values: NumPy array or tensor, finite.
        array: What computes: ``numpy``, or ``tensorflow.math``.

    Returns:
        The clipped and transformed values; what learns quantiles gets them clipped.
    """
    if feature.clip:
        low, high = feature.clip
        values = array.minimum(array.maximum(values, low), high)
    if feature.transform == "quantile":
        return values
    return transform_numbers(feature.transform, values, array)


def sample_space(task: Task, tasks: Iterable[Task], labels: Mapping):
    """Where a task is defined: it has a label, and what it is given holds.

    Args:
        task: The task.
        tasks: All tasks, among them those that it is given, and those in turn.
        labels: Task name -> labels ``[B]``, NaN: none; NumPy arrays or tensors.

    Returns:
        Booleans ``[B]``.
    """
    inside = labels[task.name] == labels[task.name]  # false where NaN
    by_name = {task.name: task for task in tasks}
    while task.given:
        inside = inside & (labels[task.given] == 1.0)
        task = by_name[task.given]
    return inside
