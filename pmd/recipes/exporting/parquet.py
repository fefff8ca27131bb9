"""`pmd export --to parquet`: the entities of a text model and their vectors as vector databases import them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pmd.core.files import write_folder
from pmd.settings.shared import DataConfig
from pmd.use.index import Index
from pmd.use.load import current_index

BLOCK = 1 << 16
"""Entities in a row group."""
README = """# {count:,} entities as vectors

`entities.parquet` has a row for each entity: `id`, `name`, `description` and `vector`, {dim} numbers of length 1. The score of an
answer is the inner product (cosine) with the vector of the question, which the model makes:

```python
import duckdb
import pmd

model = pmd.load({model!r})
question = model.question(head="…", relation="…")
vector = model.queries([question])[0].tolist()
best = "SELECT id, name, array_inner_product(vector::FLOAT[{dim}], ?::FLOAT[{dim}]) AS score FROM 'entities.parquet' ORDER BY score DESC LIMIT 10"
print(duckdb.execute(best, [vector]).fetchall())
```
"""


def export_parquet(folder: Path, out: Path, data: DataConfig | None) -> str:
    """Write the folder from the index of a text model; returns a line about it."""
    index = current_index(folder, data)
    dim = index.metadata["dim"]

    def fill(new: Path) -> None:
        write_entities(new / "entities.parquet", index)
        text = README.format(count=index.num_entities, dim=dim, model=str(folder))
        (new / "README.md").write_text(text, encoding="utf-8")

    write_folder(out, fill)
    return f"{out}: {index.num_entities:,} entities with vectors of {dim} numbers in Parquet"


def write_entities(file: Path, index: Index) -> None:
    """Ids, names, descriptions and vectors (fp32), block by block."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim, names, vectors = index.metadata["dim"], index.entities, index.stored_vectors
    texts = {"id": names.ids, "name": names.names, "description": names.descriptions}
    fields = [(name, pa.string()) for name in texts]
    schema = pa.schema([*fields, ("vector", pa.list_(pa.float32(), dim))])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(vectors), BLOCK):
            part = slice(start, start + BLOCK)
            flat = np.ascontiguousarray(vectors[part], dtype=np.float32).reshape(-1)
            columns = [pa.array(column[part], pa.string()) for column in texts.values()]
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), dim))
            writer.write_table(pa.table(columns, schema=schema))
