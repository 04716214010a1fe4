"""What a value must be, in our own words, for each mistake that pydantic finds."""

import difflib
import re
from collections.abc import Mapping

MUST = {
    "missing": "it is missing",
    "string_type": "must be a text",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} characters or fewer",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a section of keys",
    "model_type": "must be a section of keys",
    "model_attributes_type": "must be a section of keys",
    "none_required": "must be null",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} entries or fewer",
    "union_tag_not_found": "lacks {discriminator}, which says of which kind it is",
    "union_tag_invalid": "{discriminator} must be {expected_tags}",
    "invalid_key": "keys must be texts",
    "is_instance_of": "must be of another kind",
    "date_type": "must be a date, such as 2026-01-31",
    "date_parsing": "must be a date, such as 2026-01-31",
    "date_from_datetime_parsing": "must be a date, such as 2026-01-31",
    "date_from_datetime_inexact": "must be a date, such as 2026-01-31",
    "datetime_type": "must be a time, such as 2026-01-31T12:00",
    "datetime_parsing": "must be a time, such as 2026-01-31T12:00",
    "datetime_from_date_parsing": "must be a time, such as 2026-01-31T12:00",
}


def said_of(error: Mapping) -> str:
    """What is wrong with a value.

    Args:
        error: One of ``ValidationError.errors()``.
    """
    if error["type"] in ("value_error", "assertion_error"):  # raised by us
        return error["msg"].partition(", ")[2]
    words = {name: _plain(value) for name, value in (error.get("ctx") or {}).items()}
    said = MUST.get(error["type"], "is none that is allowed here").format(**words)
    return said + _meant(error, words)


def _meant(error: Mapping, words: Mapping[str, str]) -> str:
    """The nearest of the words that are allowed, where one of some was to be given."""
    allowed = re.findall(
        "'([^']+)'", words.get("expected") or words.get("expected_tags", "")
    )
    if not allowed:
        return ""
    given = words.get("tag", error.get("input"))
    close = difflib.get_close_matches(str(given), allowed, n=1)
    return f". Received: {given!r}" + (f". Did you mean {close[0]!r}?" if close else "")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
