"""What Arrow's types mean: the many ways to hold one value become the one we know."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WIDEST = 18  # digits that every int64 has


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column has once it was read; what has no meaning stays as it is.

    UUIDs and JSON are texts, arrays of a fixed length are lists, bool8 is a boolean.
    """
    if pa.types.is_dictionary(kind):
        inner = plain_type(kind.value_type)
        return kind if inner == kind.value_type and _is_plain_text(inner) else inner
    if isinstance(kind, pa.BaseExtensionType):
        name = kind.extension_name
        if name in ("arrow.uuid", "arrow.json"):
            return pa.string()
        return pa.bool_() if name == "arrow.bool8" else kind
    if kind == pa.string_view():
        return pa.string()
    if kind == pa.binary_view():
        return pa.binary()
    if _is_any_list(kind):
        inner = plain_type(kind.value_type)
        large = pa.types.is_large_list(kind)
        if large and inner == kind.value_type:
            return kind
        return pa.large_list(inner) if large else pa.list_(inner)
    return kind


def plain(values: pa.Array) -> pa.Array:
    """A column in its plain type."""
    kind, wanted = values.type, plain_type(values.type)
    if kind == wanted:
        return values
    if pa.types.is_dictionary(kind):
        return plain(values.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return uuid_texts(values.storage)
        return values.storage.cast(wanted)
    return _as_list(values, wanted) if _is_any_list(kind) else values.cast(wanted)


def _as_list(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Lists held in any way, from their lengths: Arrow's own cast loses some of a view."""
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    large = pa.types.is_large_list(wanted)
    make = pa.LargeListArray if large else pa.ListArray
    offsets = pa.array(offsets, pa.int64() if large else pa.int32())
    missing = values.is_null() if values.null_count else None
    return make.from_arrays(offsets, plain(values.flatten()), mask=missing)


def plain_table(table: pa.Table, names: list[str]) -> pa.Table:
    """Some columns of a table in their plain types."""
    for name in names:
        index = table.schema.get_field_index(name)
        if index >= 0 and table.schema.types[index] != plain_type(
            table.schema.types[index]
        ):
            chunks = [plain(chunk) for chunk in table[name].chunks]
            kind = plain_type(table.schema.types[index])
            table = table.set_column(index, name, pa.chunked_array(chunks, kind))
    return table


def uuid_texts(values: pa.Array) -> pa.Array:
    """16 bytes each as ``xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx``; null where null."""
    rows = len(values)
    data = values.cast(pa.binary())
    data = pc.fill_null(data, b"\0" * 16)
    start = np.frombuffer(data.buffers()[1], np.int32)[data.offset]
    raw = np.frombuffer(data.buffers()[2], np.uint8)[start : start + 16 * rows]
    raw = raw.reshape(rows, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    hexed = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).reshape(rows, 32)
    text = np.full((rows, 36), ord("-"), np.uint8)
    for begin, end, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, at : at + end - begin] = hexed[:, begin:end]
    offsets = np.arange(rows + 1, dtype=np.int32) * 36
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    texts = pa.Array.from_buffers(pa.string(), rows, buffers)
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string()))


def moment_texts(values: pa.Array) -> pa.Array:
    """Dates and times as ids: without zeros that only tell the unit they were held in."""
    if getattr(values.type, "tz", None):
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    texts = values.cast(pa.string())
    if pa.types.is_date(values.type):
        return pc.utf8_slice_codeunits(texts, 0, 10)
    texts = pc.replace_substring_regex(texts, r"(\.\d*?)0+(Z?)$", r"\1\2")
    return pc.replace_substring_regex(texts, r"\.(Z?)$", r"\1")


def is_wide(kind: pa.DataType) -> bool:
    """Whether a whole number of this type may be beyond int64."""
    if pa.types.is_decimal(kind):
        return kind.scale == 0 and kind.precision > WIDEST
    return pa.types.is_uint64(kind)


def _is_plain_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_any_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )
