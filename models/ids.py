"""Where each value of a feature has its row: the one layout of ids. No TensorFlow here.

0 is a missing value, and padding; then come the buckets of unknown values; then the known
values in the order of the vocabulary file.
"""

from dataclasses import dataclass

MISSING_ID = 0


@dataclass(frozen=True)
class Ids:
    """The ids of one vocabulary; arguments may be numbers, arrays or tensors.

    Attributes:
        oov_buckets: Rows shared by unknown values.
        vocabulary_size: Known values.
    """

    oov_buckets: int
    vocabulary_size: int

    @property
    def first_known(self) -> int:
        """The id of the vocabulary's first line."""
        return 1 + self.oov_buckets

    @property
    def rows(self) -> int:
        """How many ids there are."""
        return self.first_known + self.vocabulary_size

    def of_line(self, line):
        """The id of a line of the vocabulary.

        Args:
            line: Counted from 0.

        Returns:
            Of the type of ``line``.
        """
        return line + self.first_known

    def of_bucket(self, bucket):
        """The id of an unknown value that fell into a bucket.

        Args:
            bucket: Counted from 0.

        Returns:
            Of the type of ``bucket``.
        """
        return bucket + 1

    def line_of(self, ids):
        """The line of an id.

        Args:
            ids: From 0, of any shape.

        Returns:
            Counted from 0; negative where it is no known value's.
        """
        return ids - self.first_known

    def is_unknown(self, ids):
        """Whether an id is a bucket's.

        Args:
            ids: From 0, of any shape.

        Returns:
            Booleans of that shape.
        """
        return (ids > MISSING_ID) & (ids < self.first_known)
