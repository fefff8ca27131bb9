"""Train embedding models of a knowledge graph: one, or a teacher and its students.

python scripts/train.py --data.path my_graph --model.interaction rotate --model.dim 64
accelerate launch scripts/train.py --config configs/kge/wn18rr_rotate.yaml --data.path DIR/wn18rr
accelerate launch scripts/train.py --resume
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("train")
