"""Run the notebooks of the site and store what they show.

    python scripts/pages/notebooks.py                     # all of docs/notebooks
    python scripts/pages/notebooks.py docs/notebooks/answers.ipynb

Each runs in a kernel and a folder of its own. What they print about progress is left out, for it holds times and folders.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


def run(notebook: nbformat.NotebookNode) -> None:
    """Run all cells; outputs are in the notebook afterwards."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def store(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    run(notebook)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb"))):
        store(path)
        print(path, file=sys.stderr)
