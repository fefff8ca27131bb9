"""GLUE tasks by methods and sizes over several seeds, with the published rows: the layout of MED's Table 6.

python scripts/glue_table.py --config configs/glue/minilm_table.yaml --base.data.path DIR/glue
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("table", "glue")
