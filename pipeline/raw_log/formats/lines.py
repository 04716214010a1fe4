"""Files of text in blocks of whole lines: unpacked, in UTF-8, quoted in one way.

A block is what is parsed at once.  What a dialect has of its own (an encoding, a
delimiter of several characters, escaped quotes) is turned here, block by block, into
what every parser reads.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats.base import PACKED, Form, open_file
from steadyrank.pipeline.raw_log.formats.texts import NOT_UTF8

BLOCK_BYTES = 16 << 20
LONGEST_BYTES = 256 << 20  # of one record; mostly, it is a quote that nobody closed
PART = b"\x1f"  # stands for a delimiter that is longer than a byte
LF, CR, BACKSLASH = b"\n\r\\"
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Block:
    """Some whole lines.

    Attributes:
        data: UTF-8, as far as the file is; it ends with a line or the file.
        line: The number of its first line, from 1.
    """

    data: bytes
    line: int


def open_text(path: str, form: Form):
    """A file to be read as bytes in UTF-8, unpacked.

    Beam's own unpacking is not one that Arrow can read from, and hides a cut end.
    """
    raw = open_file(path)
    codec = PACKED.get(f".{path.rpartition('.')[2].lower()}")
    file = pa.CompressedInputStream(pa.PythonFile(raw), codec) if codec else raw
    return _Recoded(path, file, form.encoding) if form.encoding else file


class _Recoded:
    """A file in another encoding, read as UTF-8."""

    def __init__(self, path: str, file, encoding: str):
        self.path, self.file, self.encoding = path, file, encoding
        self.decoder = codecs.getincrementaldecoder(encoding)("strict")

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *caught):
        return self.file.__exit__(*caught)

    def read(self, size: int) -> bytes:
        data, text = b" ", ""
        try:
            while data and not text:  # a part of a character alone is no end of the file
                data = self.file.read(size)
                text = self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path}: is not {self.encoding}, as data.encoding says: {error}. "
                "Name the encoding that it has, or mend the file."
            ) from None
        return text.encode()


def blocks(path: str, form: Form, size: int = 0) -> Iterator[Block]:
    """The blocks of a file; its first line begins the first.

    Raises:
        InputError: It is of another encoding, or a quote stands where none may be.
    """
    rest, line = None, 1
    with open_text(path, form) as file:
        while chunk := file.read(size or BLOCK_BYTES):
            if rest is None:
                _require_utf8(path, chunk)
                rest, chunk = b"", chunk.removeprefix(codecs.BOM_UTF8)
            raw = rest + chunk
            end = _end_of_records(raw, form)
            if len(raw) - end > LONGEST_BYTES:
                raise InputError(unclosed(path, f"line {line:,} or later"))
            if end:
                yield _block(path, raw[:end], line, form)
                line += _count_lines(raw[:end])
            rest = raw[end:]
        if rest:
            yield _block(path, rest, line, form)


def record_lines(data: bytes, line: int, rows: int, form: Form) -> np.ndarray:
    """The line on which each record of a block begins, without empty lines.

    Args:
        data: Of the block.
        line: Of the block.
        rows: How many records a parser found in it.
        form: How the file is written.
    """
    if _count_lines(data) == rows and not form.multiline:
        return np.arange(line, line + rows)
    raw = np.frombuffer(data, np.uint8)
    ends, length = _line_ends(raw)
    starts = np.concatenate([[0], ends])
    stops = np.concatenate([ends - length, [len(raw)]])
    full = stops > starts
    if form.multiline and form.quote:
        quotes = np.flatnonzero(raw == ord(form.quote))
        full &= np.searchsorted(quotes, starts) % 2 == 0
    return line + np.flatnonzero(full)


def without_others(block: Block, form: Form) -> tuple[bytes, list[tuple[str, str, int]]]:
    """A block in which records that are not UTF-8 are empty lines, and those records.

    Returns:
        The block, and of each record its text, the reason and its line.
    """
    places: list[int] = []

    def note(error: UnicodeDecodeError) -> tuple[str, int]:
        places.append(error.start)
        return "\ufffd", error.end

    codecs.register_error("steadyrank.note", note)
    codecs.decode(block.data, "utf-8", "steadyrank.note")
    if not places:
        return block.data, []
    raw = np.frombuffer(block.data, np.uint8)
    ends, _ = _line_ends(raw)
    starts = np.concatenate([[0], ends])
    records = starts
    if form.multiline and form.quote:
        records = starts[
            np.searchsorted(np.flatnonzero(raw == ord(form.quote)), starts) % 2 == 0
        ]
    stops = np.append(records[1:], len(raw))
    which = np.unique(np.searchsorted(records, places, side="right") - 1)
    change = np.zeros(len(raw) + 1, np.int64)
    np.add.at(change, records[which], 1)
    np.add.at(change, stops[which], -1)
    gone = (np.cumsum(change[:-1]) > 0) & (raw != LF) & (raw != CR)
    lines = block.line + np.searchsorted(starts, records[which])
    others = [
        (block.data[a:b].decode(errors="replace").strip("\r\n"), NOT_UTF8, int(line))
        for a, b, line in zip(records[which], stops[which], lines, strict=True)
    ]
    return raw[~gone].tobytes(), others


def _block(path: str, raw: bytes, line: int, form: Form) -> Block:
    data = _with_one_delimiter(path, raw, form)
    if form.escape:
        escaped = _without_escapes if form.quote else _with_escapes
        data = escaped(path, data, line, form)
    if form.quote:
        _check_quotes(path, data, line, form)
    return Block(data, line)


def delimiter_of(form: Form) -> str:
    """The delimiter that parsers are told: one byte."""
    return form.delimiter if len(form.delimiter.encode()) == 1 else PART.decode()


def _with_one_delimiter(path: str, raw: bytes, form: Form) -> bytes:
    if delimiter_of(form) == form.delimiter:
        return raw
    if PART in raw:
        raise InputError(
            f"{path}: holds the character 0x1f, which stands for the delimiter "
            f"{form.delimiter!r} while it is read. Take a delimiter of one character."
        )
    return raw.replace(form.delimiter.encode(), PART)


def _end_of_records(raw: bytes, form: Form) -> int:
    """Where the last whole record of some bytes ends."""
    if not form.quote or not form.multiline:
        found = raw.rfind(b"\n") + 1
        return found or raw.rfind(b"\r", 0, len(raw) - 1) + 1
    data = np.frombuffer(raw, np.uint8)
    ends, _ = _line_ends(data[:-1] if raw.endswith(b"\r") else data)
    even = np.searchsorted(_quotes(data, form), ends) % 2 == 0
    return int(ends[even][-1]) if even.any() else 0


def _quotes(data: np.ndarray, form: Form) -> np.ndarray:
    """Places of the quotes that open or close, or are one of two."""
    quotes = np.flatnonzero(data == ord(form.quote))
    if not form.escape or not len(quotes):
        return quotes
    return quotes[_run_before(data, quotes, ord(form.escape)) % 2 == 0]


def _run_before(data: np.ndarray, places: np.ndarray, byte: int) -> np.ndarray:
    """How many of a byte stand in a row before each place."""
    other = np.flatnonzero(data != byte)
    before = np.searchsorted(other, places)
    last = np.where(before > 0, other[np.maximum(before, 1) - 1], -1)
    return places - last - 1


def _line_ends(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the lines after the first begin, and how long each line's end is."""
    feeds = np.flatnonzero(data == LF)
    if not (data == CR).any():
        return feeds + 1, np.ones(len(feeds), int)
    returns = np.flatnonzero(data == CR)
    alone = returns[data[np.minimum(returns + 1, len(data) - 1)] != LF]
    if len(data) and data[-1] == CR:
        alone = np.union1d(alone, [len(data) - 1])
    both = (feeds > 0) & (data[feeds - 1] == CR)
    ends = np.concatenate([feeds, alone]) + 1
    length = np.concatenate([1 + both, np.ones(len(alone), int)])
    order = np.argsort(ends)
    return ends[order], length[order]


def _count_lines(data: bytes) -> int:
    feeds, returns = data.count(b"\n"), data.count(b"\r")
    found = feeds + returns - (data.count(b"\r\n") if returns else 0)
    return found + (not data.endswith((b"\n", b"\r")))


def _without_escapes(path: str, raw: bytes, line: int, form: Form) -> bytes:
    """Escaped quotes as two quotes, as Spark and others read them.

    Within quotes an escape before a quote or an escape is taken away, and is itself
    before anything else, and outside of quotes.
    """
    if form.escape.encode() not in raw:
        return raw
    data = np.frombuffer(raw, np.uint8).copy()
    places = np.flatnonzero(data == ord(form.escape))
    inside = np.searchsorted(_quotes(data, form), places) % 2 == 1
    first = _run_before(data, places, ord(form.escape)) % 2 == 0
    after = data[np.minimum(places + 1, len(data) - 1)]
    quoted = places[inside & first & (after == ord(form.quote))]
    doubled = places[inside & first & (after == ord(form.escape))]
    data[quoted] = ord(form.quote)
    return np.delete(data, doubled).tobytes()


def _with_escapes(path: str, raw: bytes, line: int, form: Form) -> bytes:
    """Of files without quotes; a value that is a null marker such as ``\\N`` is emptied.

    Raises:
        InputError: An escape stands before what it need not: dialects differ in what
            ``\\t`` means.
    """
    if form.escape.encode() not in raw:
        return raw
    data = np.frombuffer(raw, np.uint8)
    places = np.flatnonzero(data == ord(form.escape))
    first = places[_run_before(data, places, ord(form.escape)) % 2 == 0]
    edges = [ord(delimiter_of(form)), LF, CR]
    after = data[np.minimum(first + 1, len(data) - 1)]
    begins = (first == 0) | np.isin(data[np.maximum(first, 1) - 1], edges)
    last = np.minimum(first + 2, len(data) - 1)
    ends = (first + 2 >= len(data)) | np.isin(data[last], edges)
    marker = begins & ends & (after == ord("N"))
    if (odd := ~marker & ~np.isin(after, [edges[0], ord(form.escape)])).any():
        place = int(first[odd][0])
        raise InputError(
            f"{path}: line {line + _count_lines(raw[:place]) - 1:,}: {form.escape!r} "
            f"stands before what needs none: {_shown(raw, place)!r}. Write the value as it "
            f"is; {form.escape!r} goes before the delimiter and itself alone."
        )
    gone = first[marker]
    return np.delete(data, np.concatenate([gone, gone + 1])).tobytes()


def _check_quotes(path: str, data: bytes, line: int, form: Form) -> None:
    """Raise where a quote neither begins nor ends a value, or a value is not closed."""
    if form.quote.encode() not in data:
        return
    raw = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(raw == ord(form.quote))
    edges = [ord(delimiter_of(form)), LF, CR]
    odd = np.zeros(len(quotes), bool)
    opening, closing = quotes[::2], quotes[1::2]
    before = raw[np.maximum(opening, 1) - 1]
    after = raw[np.minimum(closing + 1, len(raw) - 1)]
    pair = np.concatenate([[False], opening[1:] == closing[: len(opening) - 1] + 1])
    odd[::2] = ~pair & (opening > 0) & ~np.isin(before, edges)
    odd[1::2] = (closing + 1 < len(raw)) & ~np.isin(after, [*edges, ord(form.quote)])
    wrong = int(quotes[odd][0]) if odd.any() else len(raw)
    if not form.multiline:
        ends, _ = _line_ends(raw)
        open_at = np.searchsorted(quotes, ends) % 2 == 1
        over = int(ends[open_at][0]) - 1 if open_at.any() else len(raw)
        if over < wrong:
            start = int(quotes[np.searchsorted(quotes, over) - 1])
            where = f"line {line + _count_lines(data[: start + 1]) - 1:,}"
            raise InputError(unclosed(path, where, _shown(data, start)))
    if wrong < len(raw):
        where = f"line {line + _count_lines(data[: wrong + 1]) - 1:,}"
        raise InputError(
            f"{path}: {where}: a quote stands where none may be: {_shown(data, wrong)!r}. "
            "A value in quotes has its own quotes doubled. If this file escapes them, set "
            "data.escape, such as '\\'; if its values are not quoted, data.quote: null."
        )
    if len(quotes) % 2:
        start = int(quotes[-1])
        where = f"line {line + _count_lines(data[: start + 1]) - 1:,}"
        raise InputError(unclosed(path, where, _shown(data, start)))


def _shown(data: bytes, place: int) -> str:
    """The value about a place, or a part of its line."""
    start = max(data.rfind(b"\n", 0, place) + 1, place - 20)
    return data[start : start + 80].partition(b"\n")[0].decode(errors="replace").strip()


def unclosed(path: str, where: str, text: str = "") -> str:
    begins = f": {text!r}" if text else ""
    return (
        f"{path}: {where}: a value or a broken row goes over several lines{begins}. "
        "Mostly, a quote was never closed. If the file does not quote values, set "
        "data.quote: null; if its quoted values may hold line breaks, data.multiline: true."
    )


def _require_utf8(path: str, data: bytes) -> None:
    """Raise where the first bytes of a file show that it is of another encoding."""
    found = next((name for mark, name in MARKS if data.startswith(mark)), "")
    if not found and b"\0" in data[:4096]:
        found = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    if found:
        raise InputError(
            f"{path}: seems to be {found.upper()}, not UTF-8. Set data.encoding: {found}"
        )
