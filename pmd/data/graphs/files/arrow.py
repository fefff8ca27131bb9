"""Columns that a program holds, as Arrow columns of text."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from pmd.core.errors import PmdError
from pmd.data.graphs.files.tables import as_text
from pmd.data.graphs.files.tsv import quote

if TYPE_CHECKING:
    import pyarrow as pa


def columns_of_texts(texts: Mapping[Any, Any]) -> dict[str, list[Any]]:
    """The columns of a mapping of ids to names, or to mappings with the keys name, description, type and aliases."""
    rows = [value if isinstance(value, Mapping) else {"name": value} for value in texts.values()]
    words = {word for row in rows for word in row}
    return {
        **{word: [text_or_none(row.get(word)) for row in rows] for word in words},
        "id": [str(key) for key in texts],
    }


def text_or_none(value: Any) -> Any:
    """Text, or several of them; None for what is missing in one of the many ways."""
    if isinstance(value, list | tuple):
        return [str(part) for part in value]
    return str(value) if isinstance(value, str | Real) and value == value else None


def text_table(columns: Mapping[str, Any], place: str) -> pa.Table:
    import pyarrow as pa

    table = pa.table({name: arrow_column(column, name, place) for name, column in columns.items()})
    for number, column in enumerate(table.schema):
        # A column without values has the type of floats in pandas.
        is_void = table.column(number).null_count == len(table)
        if is_void or pa.types.is_temporal(column.type):  # times are known by their spelling
            table = table.set_column(number, column.name, table.column(number).cast(pa.string()))
    return as_text(table, place)


def arrow_column(column: Any, name: str, place: str) -> Any:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column
    try:
        return pa.array(column, from_pandas=True)
    except UnicodeError as error:
        raise PmdError(f"{place}: column '{name}' holds what is no Unicode text ({error}); mend it") from None
    except (pa.ArrowException, OverflowError):  # values of several types, or numbers of many digits
        return pa.array(
            [id_text(value, f"{place}, row {row + 1}: column '{name}'") for row, value in enumerate(column)]
        )


def id_text(value: Any, place: str) -> str | None:
    if isinstance(value, str) or (isinstance(value, Integral) and not isinstance(value, bool)):
        return str(value)
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    raise PmdError(f"{place} holds {quote(repr(value))} among values of other types; store it as text")
