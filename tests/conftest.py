"""Fixtures for all tests: a small awkward graph, and the real benchmark data where there is some.

Tests run in one process more than there are cores. Each has one thread, which must be said before torch is loaded. Each
begins with its share of the tests in their order, so that those of one file mostly share what the file has trained.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import load_graph

from .trained import folder, pictures, table, types_file  # noqa: F401  (fixtures for every room)
from .two_processes import two_processes  # noqa: F401


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto` and `-n logical`: a process for each core and one more, as many tests wait for processes that they have started,
    at most eight; for single files none but this one."""
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    if all(path.is_file() for path in paths) and len(paths) < 4:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores + 1)


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> Iterator[None]:
    """What is in memory before the tests of a file stays there, and the collector need not look at it.

    accelerate collects after every training, which would take a third of a second each time for the modules alone.
    """
    gc.collect()
    gc.freeze()
    yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark data; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    data = Path(os.environ.get("PMD_SHARED_DATA", default))
    if not (data / "wn18rr" / "train.tsv").is_file():
        pytest.skip(f"no benchmark data in {data}; set PMD_SHARED_DATA to its folder")
    return data


def build_random_graph(
    seed: int = 0, entities: int = 12, relations: int = 3, train: int = 60, valid: int = 12, test: int = 12
) -> KnowledgeGraph:
    """So few entities and so many triples that (h, r) and whole triples repeat, within and across splits.

    The last entity is in no triple, so some queries have no known answer.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        limits = (entities - 1, relations, entities - 1)
        return torch.stack([torch.randint(limit, (count,), generator=generator) for limit in limits], dim=1)

    return KnowledgeGraph(
        name="random",
        entity_ids=[f"e{i}" for i in range(entities)],
        entity_names=[f"name {i // 2}" for i in range(entities)],  # two entities share a name
        entity_descriptions=["" if i % 3 == 0 else f"the description of entity {i}" for i in range(entities)],
        relation_ids=[f"r{i}" for i in range(relations)],
        relation_names=[f"relation {i}" for i in range(relations)],
        train=draw(train),
        valid=draw(valid),
        test=draw(test),
    )


@pytest.fixture
def random_graph() -> Callable[..., KnowledgeGraph]:
    """The builder above, for tests that want several seeds or sizes."""
    return build_random_graph


@pytest.fixture
def write_files() -> Callable[[Path, dict[str, str | bytes | None]], Path]:
    """Writes files into a folder, which it makes and returns; None leaves a file out."""

    def write(place: Path, files: dict[str, str | bytes | None]) -> Path:
        place.mkdir(exist_ok=True)
        for name, content in files.items():
            if content is not None:
                (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return place

    return write


@pytest.fixture
def load_error() -> Callable[..., str]:
    """The message of the PmdError that loading a graph raises: always one line."""

    def message(source: str | Path, **options: object) -> str:
        with pytest.raises(PmdError) as caught:
            load_graph(source, **options)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    return message
