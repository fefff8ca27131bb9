"""Fine-tune a BERT and its sub-models on a GLUE task: MED, one training for every width, and its rivals.

accelerate launch scripts/glue.py --task rte --model.widths '[128,256,512,768]'
accelerate launch scripts/glue.py --config configs/glue/minilm.yaml --task stsb --data.path DIR/glue
python scripts/glue.py --resume runs/glue-rte-20260101-120000
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("glue")
