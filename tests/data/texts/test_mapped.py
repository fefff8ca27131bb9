import numpy as np
import pytest
from safetensors.numpy import save_file

from pmd.data.texts.mapped import _TYPES, MappedColumns, write_columns


def columns_of_all_types():
    columns = {f"{name} {kind.__name__}": np.ones((3, 5), kind) for kind in _TYPES.values() for name in ("é", "a", "Z")}
    return columns | {"none": np.empty((0, 4), np.int64), "every second": np.arange(9, dtype=np.uint8)[::2]}


def test_a_file_is_that_of_the_library_byte_for_byte(tmp_path):
    columns = columns_of_all_types()
    write_columns(tmp_path / "ours", columns)
    save_file({name: np.ascontiguousarray(column) for name, column in columns.items()}, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_columns_are_read_as_written_without_the_metadata(tmp_path):
    columns = columns_of_all_types()
    save_file({name: np.ascontiguousarray(column) for name, column in columns.items()}, tmp_path / "file", {"a": "b"})
    mapped = MappedColumns(tmp_path / "file")
    assert {*mapped} == {*columns} and len(mapped) == len(columns) and "__metadata__" not in mapped
    for name, column in mapped.items():
        np.testing.assert_array_equal(column, columns[name])
    with pytest.raises(KeyError):
        mapped["b"]
