"""Distil a text model for knowledge graph completion, grade by grade.

accelerate launch scripts/progressive.py
accelerate launch scripts/progressive.py --config configs/pmd/wn18rr.yaml --train.lr 3e-5
accelerate launch scripts/progressive.py --resume runs/progressive-20260101-120000
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("progressive")
