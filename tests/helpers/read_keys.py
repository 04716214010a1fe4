"""Which keys of a config somebody reads, while something runs."""

import contextlib
import sys
import typing

from pydantic import BaseModel

from steadyrank.pipeline.config.section import Section


@contextlib.contextmanager
def recorded(found=None):
    """A set that fills with ``(section, key)``; what a section checks of itself is no use.

    A section that is turned into plain values (not into JSON, for a file) is read whole.
    """
    found = set() if found is None else found
    plain, before = Section.model_dump, Section.__dict__.get("__getattribute__")

    def look(self, name):
        if name in type(self).model_fields:
            reader = sys._getframe(1).f_code
            checks = "/config/" in reader.co_filename and reader.co_name.startswith("_")
            if not checks and "/pydantic/" not in reader.co_filename:
                found.add((type(self).__name__, name))
        return object.__getattribute__(self, name)

    def dump(self, *arguments, **how):
        if how.get("mode") != "json":
            found.update(keys_of(type(self)))
        return plain(self, *arguments, **how)

    Section.__getattribute__, Section.model_dump = look, dump
    try:
        yield found
    finally:
        if before is None:
            del Section.__getattribute__
        else:
            Section.__getattribute__ = before
        Section.model_dump = plain


def keys_of(section) -> set[tuple[str, str]]:
    """All keys of a section and of those in it, as ``recorded`` names them."""
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        inner = typing.get_args(section)
        return set().union(*map(keys_of, inner)) if inner else set()
    fields = section.model_fields.items()
    own = {(section.__name__, name) for name, _ in fields}
    return own.union(*(keys_of(field.annotation) for _, field in fields))
