"""GLUE's metrics as a module of Hugging Face `evaluate` that needs no network: `evaluate.load(FOLDER, "mrpc")`."""

import datasets
import evaluate

from pmd.evaluation.glue import glue_metrics
from pmd.settings.catalogue import GlueTask, task_of

_DESCRIPTION = "The metrics of the nine tasks of GLUE, with the names and numbers of the Hub's module `glue`."

_KWARGS_DESCRIPTION = """
Args:
    predictions: label ids, or similarities for stsb.
    references: the labels, likewise.
Returns:
    accuracy, with f1 for mrpc and qqp; matthews_correlation for cola; pearson and spearmanr for stsb.
Examples:
    >>> evaluate.load("pmd/evaluation/glue_scores", "mrpc").compute(predictions=[1, 1], references=[1, 0])
    {'accuracy': 0.5, 'f1': 0.6666666666666666}
"""

_CITATION = """
@inproceedings{wang2019glue,
  title={{GLUE}: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding},
  author={Wang, Alex and Singh, Amanpreet and Michael, Julian and Hill, Felix and Levy, Omer and Bowman, Samuel R.},
  booktitle={International Conference on Learning Representations},
  year={2019}
}
"""


class GlueScores(evaluate.Metric):
    """`compute(predictions=…, references=…)`; the task is the configuration."""

    @property
    def task(self) -> GlueTask:
        """By its name, or that of one of MNLI's two splits, as the Hub's `glue` has them."""
        return task_of({"mnli_matched": "mnli", "mnli_mismatched": "mnli"}.get(self.config_name, self.config_name))

    def _info(self):
        kind = "float32" if self.task.regression else "int64"
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({name: datasets.Value(kind) for name in ("predictions", "references")}),
        )

    def _compute(self, predictions, references):
        return glue_metrics(self.task, predictions, references)
