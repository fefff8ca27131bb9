"""Knowledge graph completion metrics from ranks, as a module of Hugging Face `evaluate`.

For pipelines that collect their numbers with `evaluate`. It takes the ranks themselves as predictions and no
references: a rank already is the comparison of a prediction with its true answer. `evaluate.load` copies
this file alone, so it imports nothing of the package it lies in.
"""

import datasets
import evaluate
import numpy

_DESCRIPTION = "Mean reciprocal rank, mean rank and Hits@1/3/10 of the ranks of true answers, counted from 1."

_KWARGS_DESCRIPTION = """
Args:
    predictions: ranks of the true answers, floats of 1 or more (a realistic rank may be a half).
Returns:
    mrr, mr, hits_at_1, hits_at_3, hits_at_10 as floats, and num_queries. Hits@k counts ranks <= k.
Examples:
    >>> evaluate.load("pmd/evaluation/kgc_ranks").compute(predictions=[1, 2, 4])["mr"]
    2.3333333333333335
"""

_CITATION = """
@inproceedings{bordes2013translating,
  title={Translating Embeddings for Modeling Multi-relational Data},
  author={Bordes, Antoine and Usunier, Nicolas and Garcia-Duran, Alberto and Weston, Jason and others},
  booktitle={Advances in Neural Information Processing Systems},
  year={2013}
}
"""


class KgcRanks(evaluate.Metric):
    """MRR, MR and Hits@k; `compute(predictions=ranks)`, or `add_batch(predictions=...)` before it."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": datasets.Value("float64")}),
        )

    def _compute(self, predictions):
        ranks = numpy.asarray(predictions, dtype=numpy.float64)  # (n,)
        if not (ranks >= 1).all():
            raise ValueError(f"ranks count from 1, but the smallest of these is {ranks.min()}")
        result = {"mrr": float((1 / ranks).mean()), "mr": float(ranks.mean())}
        result.update({f"hits_at_{k}": float((ranks <= k).mean()) for k in (1, 3, 10)})
        result["num_queries"] = len(ranks)
        return result
