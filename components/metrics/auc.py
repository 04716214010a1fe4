"""Exact AUC of any number of rows, batch by batch, in memory that equal scores bound."""

import numpy as np

MOST_ROWS = (1 << 31) - 1  # so that a count fits, and all sums of pairs are exact
BUFFER_ROWS = 1 << 22  # counted together
_COUNT_BITS = np.uint64(31)
_COUNT = np.uint64((1 << 31) - 1)
_PART_BITS = np.uint64(52)  # below the sign, the exponent and 3 bits of the score
_FIRST_WORDS = np.arange(1 << 12, dtype=np.uint64) << _PART_BITS  # of each part


class StreamingAuc:
    """Area under the ROC curve of float32 scores, with an error of 0.

    The state counts how often each score occurs in each class: a sorted word of 64 bits
    for every pair of them, which holds the score's bits, the class and the count.  Words
    lie in eight arrays for each power of two that scores span, so that merging new rows
    copies one part of the state at a time.  Ties count half and nothing is rounded.
    States of parts of the rows add up to that of the whole.

    The state takes 8 bytes for each score that occurs, in either class: at most 8 bytes a
    row, and at most 128 MiB for each power of two that scores span, however many rows
    there are.  While rows are merged, about 150 MB come on top.

    Example:

    >>> import numpy as np
    >>> area = StreamingAuc()
    >>> area.update([0, 1], np.float32([0.1, 0.4]))
    >>> area.update([0, 1], np.float32([0.35, 0.3]))
    >>> area.result()
    0.75
    """

    def __init__(self):
        self.rows = 0
        self._undefined = False
        self._parts = {}
        self._buffer, self._buffered = [], 0

    def update(self, labels, scores):
        """Count rows.

        Args:
            labels: ``[n]``, 0 or 1.
            scores: ``[n]``, float32.

        Raises:
            ValueError: Scores are not float32, or there are too many rows.
        """
        labels, scores = np.asarray(labels).ravel(), np.asarray(scores).ravel()
        if scores.dtype != np.float32:
            raise ValueError(
                f"scores must be float32. Received: dtype={scores.dtype}. Convert them, "
                "if scores that become equal may count as ties."
            )
        self._admit(len(scores))
        self._undefined |= bool(np.isnan(scores).any())
        for start in range(0, len(scores), BUFFER_ROWS):
            rows = slice(start, start + BUFFER_ROWS)
            self._buffer.append(_words(labels[rows], scores[rows]))
            self._buffered += len(self._buffer[-1])
            if self._buffered >= BUFFER_ROWS:
                self._flush()

    def merge(self, other):
        """Add the rows of another state.

        Args:
            other: A ``StreamingAuc``, which keeps its rows.

        Raises:
            ValueError: There are too many rows.
        """
        self._admit(other.rows)
        self._undefined |= other._undefined
        other._flush()
        self._flush()
        for number, words in other._parts.items():
            self._add(number, words)

    def result(self):
        """The AUC of all rows: float; NaN without both classes or with a NaN score."""
        self._flush()
        won = negatives = positives = 0
        for number in sorted(self._parts):
            here, below, above = _pairs_won(self._parts[number])
            won += here + 2 * negatives * above
            negatives, positives = negatives + below, positives + above
        defined = negatives and positives and not self._undefined
        return won / (2 * negatives * positives) if defined else float("nan")

    def _admit(self, rows):
        if self.rows + rows > MOST_ROWS:
            raise ValueError(
                f"rows must be at most {MOST_ROWS}. Received: {self.rows + rows}."
            )
        self.rows += rows

    def _flush(self):
        """Merge the buffered rows into the state."""
        if not self._buffer:
            return
        words = np.concatenate(self._buffer)
        self._buffer, self._buffered = [], 0
        words.sort()
        ends = np.searchsorted(words, _FIRST_WORDS).tolist() + [len(words)]
        for number, (start, end) in enumerate(zip(ends, ends[1:], strict=False)):
            if start < end:
                self._add(number, words[start:end])

    def _add(self, number, words):
        stored = self._parts.get(number)
        if stored is not None:
            words = np.concatenate([stored, words])
            words.sort()
        self._parts[number] = _counted(words)


def _words(labels, scores):
    """Rows as words: the score's bits in the order of scores, the class, a count of 1."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    below_zero = (bits >> np.uint32(31)).astype(bool)
    bits ^= np.where(below_zero, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    words = bits.astype(np.uint64) << np.uint64(1)
    words |= labels > 0.5
    words <<= _COUNT_BITS
    words |= np.uint64(1)
    return words


def _counted(words):
    """Sorted words with those of one score and class added up."""
    new = np.ones(len(words), bool)
    np.not_equal(words[1:] >> _COUNT_BITS, words[:-1] >> _COUNT_BITS, out=new[1:])
    if new.all():
        return words.copy()  # of a part of the buffer, which shall not stay for it
    starts = np.flatnonzero(new)
    counts = np.add.reduceat(words & _COUNT, starts)
    return words[starts] & ~_COUNT | counts


def _pairs_won(words):
    """Among the rows of one array: twice the pairs in order, negatives, positives."""
    cell = words >> _COUNT_BITS
    count = (words & _COUNT).astype(np.int64)
    positive = (cell & np.uint64(1)).astype(bool)
    negatives = np.where(positive, 0, count)
    at_most = np.cumsum(negatives)
    place = np.flatnonzero(positive)  # a tie's negatives stand right before it
    tied = (cell[place] - np.uint64(1) == cell[place - 1]) & (place > 0)
    ties = np.where(tied, negatives[place - 1], 0)
    won = int((count[place] * (2 * at_most[place] - ties)).sum())
    return won, int(at_most[-1]), int(count[place].sum())
