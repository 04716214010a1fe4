"""Temporary files without a name: they leave nothing, and what they lack is said."""

import errno
import os
import tempfile

import numpy as np
import pytest

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.scratch import temporary, unlinked


def test_a_file_leaves_no_name_and_stays_while_it_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with unlinked() as file:
        file.write(np.arange(5, dtype=np.int32).data)
        file.flush()
        mapped = np.memmap(file, np.int32, "r", shape=5)
    assert list(tmp_path.iterdir()) == []
    assert mapped.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_folder_is_named_and_may_pass(tmp_path, monkeypatch, code):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = (
        f"no space left to write a temporary file in {tmp_path} .*Free some, or set TMPDIR"
    )
    with pytest.raises(PassingError, match=said), unlinked():
        raise OSError(code, os.strerror(code))


def test_other_faults_are_left_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match="Permission denied"), unlinked():
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("make", [unlinked, temporary])
def test_no_folder_for_temporary_files_is_said_in_words(monkeypatch, make):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    said = "no folder for temporary files can be written to: .*/nonexistent.*Set TMPDIR"
    with pytest.raises(InputError, match=said), make():
        pass
