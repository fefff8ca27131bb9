"""What is said of a graph before it is trained on."""

import warnings
from dataclasses import replace

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.recipes.ranking import load_data, warn_of_untrained
from pmd.settings.kge import KgeConfig
from pmd.settings.shared import DataConfig
from pmd.settings.text import ProgressiveConfig


def test_a_graph_of_one_entity_is_refused(write_files, tmp_path):
    triple = "a\tr\ta\n"
    files = {"train.tsv": triple, "valid.tsv": triple, "test.tsv": triple, "entities.tsv": "a\tA\tone\n"}
    folder = write_files(tmp_path / "one", {**files, "relations.tsv": "r\tlikes\n"})
    for kind in (KgeConfig, ProgressiveConfig):
        with pytest.raises(PmdError, match=r"^graph 'one' has a single entity.*; add"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_data(kind(data=DataConfig(path=str(folder))))


def test_what_only_the_ranked_split_has_is_said_in_a_line(random_graph):
    graph = random_graph()
    train = graph.train[(graph.train[:, 1] != 2) & (graph.train[:, [0, 2]] < 5).all(1)]
    few = replace(graph, train=train, test=torch.tensor([[0, 2, 1], [4, 0, 9], [3, 1, 0]]))
    with pytest.warns(UserWarning, match=r"^graph 'random': relations of test .* learned of them: r2; put ") as caught:
        warn_of_untrained(few, "test")
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    with pytest.warns(UserWarning, match=r"entities of test .*: (e\d, )*e9; put "):
        warn_of_untrained(few, "test", entities=True)
    many = replace(few, train=train[:1], test=graph.test)
    with pytest.warns(UserWarning, match=r": (e\d+, ){4}e\d+ and \d+ more; "):
        warn_of_untrained(many, "test", entities=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_untrained(replace(few, test=train[:3]), "test")
