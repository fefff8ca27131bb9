"""What Wikidata5M costs, computed from the speeds that docs/benchmarks.md and docs/scale.md have measured: a table of docs/cluster.md.

python scripts/bench/wikidata5m.py --write true        # into the page; without, to the terminal
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from jsonargparse import auto_cli

from pmd.evaluation.tables import markdown

DOCS = Path(__file__).parents[2] / "docs"
ENTITIES, TRIPLES = 4_594_485, 20_614_279
"""Of Wikidata5M, for training."""
NUMBERS, BATCH, TOKENS = 128, 1024, 50
"""Numbers of an embedding and triples of a step, as in the tables of steps; tokens of a text, as `encoder.max_length` cuts it."""
BEGIN, END = "<!-- computed: scripts/bench/wikidata5m.py -->", "<!-- end of computed -->"


def main(write: bool = False) -> None:
    """Print the table.

    Args:
        write: put it into docs/cluster.md instead.
    """
    if not write:
        print(table())
        return
    page = DOCS / "cluster.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_table(page: str) -> str:
    """The page with the table in its place."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def table() -> str:
    return markdown(
        ("what", "one core", "memory", "computed from"), [*embeddings(), *texts(), *questions()], ("left",) * 4
    )


def embeddings() -> list[list[str]]:
    """An epoch of RotatE whose negatives 32 triples share."""
    steps, gigabytes = math.ceil(TRIPLES / BATCH), ENTITIES * NUMBERS * 4 / 1e9
    rows = []
    for name, column, copies in (
        ("adam", "`adam`, 32 triples share negatives, s", 4),
        ("sparse_adam", "`sparse_adam`, likewise, s", 3),
    ):
        smaller, larger = (measured("scale.md", [entities], column) for entities in ("1,000,000", "2,000,000"))
        step = larger + (larger - smaller) * (ENTITIES - 2_000_000) / 1_000_000
        source = f"{smaller:.2f} and {larger:.2f} s a step of one and two million entities ([scale](scale.md#tables-larger-than-a-gpu))"
        what = f"an epoch of RotatE, {NUMBERS} numbers an entity, `{name}`, shared negatives"
        rows.append([what, duration(steps * step), f"{copies * gigabytes:.1f} GB", source])
    return rows


def texts() -> list[list[str]]:
    """An epoch of training a text model, and all entities encoded."""
    rows = []
    for name, row in (
        ("all weights, 32 tokens", "all weights, random batches"),
        ("lower half frozen, batches of walks, 24 tokens", "lower half frozen, walks, 24 tokens"),
    ):
        rate = measured("benchmarks.md", [row], "triples/s")
        source = f"{rate:g} triples/s ([benchmarks](benchmarks.md#work-left-out))"
        rows.append([f"an epoch of MiniLM-6 on labels, bf16, {name}", duration(TRIPLES / rate), "", source])
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    tokens = int(re.search(r"(\d+) and \d+ tokens on average", text)[1])
    size = f"{ENTITIES * 384 * 2 / 1e9:.1f} GB in fp16"
    for layers, by in (("12", "PyTorch fp32"), ("3", "PyTorch fp32"), ("3", "ONNX int8")):
        rate = measured("benchmarks.md", [layers, by], "entities/s")
        source = f"{rate:,.0f} entities/s, {tokens} tokens each ([benchmarks](benchmarks.md#students-at-work)), taken as {TOKENS}"
        what = f"all entities encoded, {layers} layers, 384 wide, {by}"
        rows.append([what, duration(ENTITIES / rate * TOKENS / tokens), size, source])
    return rows


def questions() -> list[list[str]]:
    """A question to so many vectors of 128 numbers, as it was measured."""
    rows = []
    for name, row in (
        ("all entities (fp16, as from 2 GB on)", "exact, fp16 in blocks"),
        ("a funnel of 32 numbers", "funnel, 32 of 128"),
        ("faiss, 128 cells", "faiss, 128 of 4,286"),
    ):
        milliseconds, megabytes = (measured("scale.md", [row], column) for column in ("ms a question", "MB"))
        source = "measured at this size ([scale](scale.md#questions-to-millions-of-entities))"
        time, size = f"{milliseconds:,.0f} ms", f"{megabytes / 1000:.1f} GB"
        rows.append([f"a question to a text model, {name}", time, size, source])
    return rows


def measured(page: str, row: list[str], column: str) -> float:
    """The first number of a cell: of the row whose cells begin so, in a table of a page that has this column."""
    columns: list[str] = []
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or column in cells:
            columns = cells
        elif column in columns and all(map(str.startswith, cells, row)):
            return float(re.search(r"[\d.,]+", cells[columns.index(column)])[0].replace(",", ""))
    raise SystemExit(f"docs/{page}: no table has the column '{column}' and a row {row}")


def duration(seconds: float) -> str:
    """Seconds in the unit that one would say."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.{0 if seconds / size >= 10 else 1}f} {unit}"
    return f"{seconds / 86400:.1f} days"


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
