"""Apple's devices have no double precision, and not all of Intel's: nothing there may need it.

There is no such device here. So training and ranking are run on the CPU while double precision is forbidden, with what they do on
other devices, and the sources are read: double precision is where the CPU alone computes.
"""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core import devices
from pmd.distill import kge_dimension_order
from pmd.evaluation import counting, ranking, width_ranking
from pmd.evaluation.metrics import RankingMetrics
from pmd.models.kge import kernels
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig
from pmd.training.loop import _Training

from ..distill.slow_kge import batch_of
from ..tiny_glue import write_bert, write_task

PACKAGE = Path(pmd.__file__).parent
DOUBLE = {
    # Devices with it alone, or chosen by it.
    "core/devices.py": {"widest_float"},
    "evaluation/width_ranking.py": {"_count"},
    "models/kge/width_scores.py": {
        *("WidthScores.exact_scores", "WidthScores.exact_sums_of_pairs", "ProductMargins.__init__"),
        *("ProductMargins.exact_pair_margins", "ProductMargins._query_blocks", "ProductMargins._candidate_blocks"),
    },
    # CPUs alone.
    "models/kge/kernels.py": {"_Euclidean.forward", "_distances_by_product", "_squared_lengths"},
    # Tensors that are on the CPU: tables of a model, ranks, and sums of them.
    "models/kge/as_products.py": {"_of_target"},
    "evaluation/fusing.py": {"_Chunk.measure", "_fit_logistic"},
    "evaluation/metrics.py": {"QueryRanks.realistic", "RankSummary.values"},
    "recipes/ranking.py": {"read_ranks"},
    "distill/kge_dimension_order.py": {"losses_without"},
    "papers/downstream/recommend.py": {"ndcg"},
    "papers/downstream/table.py": {"pca_vectors"},
}
"""Where tensors in double precision are made, by function."""


def doubles(node: ast.AST, owner: str = "") -> set[str]:
    """The functions in which `double` or `float64` of torch or of a tensor is named."""
    found = set()
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
        inner = f"{owner}.{child.name}".strip(".") if named else owner
        if isinstance(child, ast.Attribute) and child.attr in ("double", "float64"):
            of_numpy = isinstance(child.value, ast.Name) and child.value.id in ("np", "numpy")
            found |= set() if of_numpy else {owner}
        found |= doubles(child, inner)
    return found


def test_double_precision_is_where_it_was_thought_of():
    sources = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {name: found for name, tree in sources.items() if (found := doubles(tree))} == DOUBLE


def test_a_device_says_what_it_computes_in(monkeypatch):
    for name, expected in (("cpu", True), ("cuda", True), ("mps", False)):
        assert devices.supports_float64(torch.device(name)) == expected
    for has in (True, False):
        monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device, has=has: SimpleNamespace(has_fp64=has))
        assert devices.supports_float64(torch.device("xpu")) == has
    assert devices.widest_float(torch.device("mps")) == torch.float
    assert devices.widest_float(torch.device("cpu")) == torch.double


@pytest.mark.parametrize("present", ["mps", "xpu", "cuda", None])
def test_the_device_is_the_one_that_accelerate_chooses(present, monkeypatch):
    for name, module in (("mps", torch.backends.mps), ("cuda", torch.cuda), ("xpu", torch.xpu)):
        monkeypatch.setattr(module, "is_available", lambda name=name: name == present)
    assert devices.best_device().type == (present or "cpu")
    asked = []

    class Accelerator:
        device, num_processes, mixed_precision = torch.device("cpu"), 1, "no"

        def __init__(self, **options):
            asked.append(options["cpu"])

    monkeypatch.setattr("pmd.training.device.Accelerator", Accelerator)
    monkeypatch.setattr("pmd.training.device.torch.set_num_threads", lambda threads: None)
    from pmd.settings.text import TrainConfig
    from pmd.training.device import accelerator_for

    accelerator_for(TrainConfig(threads=1))
    assert asked == [present is None]


class NoFloat64(TorchDispatchMode):
    """Refuses every operation that gives numbers in double precision."""

    operations = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.operations += 1
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.double for leaf in tree_leaves(result)):
            raise TypeError(f"{function} gives double precision")
        return result


def test_double_precision_is_noticed():
    with NoFloat64(), pytest.raises(TypeError, match="double precision"):
        torch.ones(2).double()
    with NoFloat64(), pytest.raises(TypeError, match="double precision"):
        torch.zeros(2, dtype=torch.float64)


def exact_distances(query, candidates):
    """What `euclidean` computes on other devices than the CPU."""
    return torch.cdist(query, candidates, compute_mode=kernels.EXACT_CDIST)


@pytest.fixture
def no_float64(monkeypatch):
    """A device without double precision: steps of training, and the ranking of queries on it, may not make any."""
    operations = []

    def forbidden(function):
        def call(*arguments, **options):
            with NoFloat64() as mode:
                result = function(*arguments, **options)
            operations.append(mode.operations)
            return result

        return call

    for module in (devices, width_ranking):
        monkeypatch.setattr(module, "supports_float64", lambda device: False)
    monkeypatch.setattr(kernels, "_distances_by_product", exact_distances)
    monkeypatch.setattr(counting, "count_on_cpu", counting.count_on_device)
    monkeypatch.setattr(_Training, "step", forbidden(_Training.step))
    monkeypatch.setattr(ranking._Ranking, "rank_chunk", forbidden(ranking._Ranking.rank_chunk))
    return operations


SHORT = ["--train.epochs=1", "--train.batch_size=8", "--train.valid_every=1", "--train.threads=1"]
KGE = {
    "logistic": ["--model.interaction=transe", "--model.norm=l2", "--loss.name=logistic", "--loss.adversarial=1"],
    "softmax": ["--model.interaction=rotate", "--loss.shared=4", "--train.grad_clip=1", "--loss.negatives=4"],
    "one_vs_all": ["--model.interaction=transe", "--model.norm=l2", "--loss.name=one_vs_all"],
    "k_vs_all": ["--model.interaction=complex", "--loss.name=k_vs_all", "--loss.n3=0.1"],
    "dualde": ["--loss.name=margin", "--dual.students=[4]", "--loss.constraint=0.1"],
    "med": ["--model.widths=[2,8]", "--loss.name=logistic", "--med.recipe=med"],
    "squares": ["--model.interaction=transe", "--model.norm=squared", "--model.widths=[2,8]"],
}


@pytest.mark.parametrize("options", KGE.values(), ids=KGE)
def test_embeddings_train_and_rank_without_it(options, folder, tmp_path, no_float64):
    COMMANDS["train"]([*SHORT, f"--data.path={folder}", f"--runs={tmp_path}", "--model.dim=8", *options])
    assert len(no_float64) > 3 and min(no_float64) > 10


@pytest.mark.parametrize("method", ["pmd", "pkd"])
def test_texts_train_and_rank_without_it(method, folder, tmp_path, no_float64):
    sizes = {"hidden_size": 16, "heads": 2, "intermediate_size": 32, "layers": 2, "vocab_size": 300, "widths": "[8,16]"}
    stages = '[{"name": "teacher"}, {"name": "student", "layers": 2, "mask_rate": 0.2}]'
    options = [*(f"--encoder.{key}={value}" for key, value in sizes.items()), f"--data.path={folder}"]
    options += [f"--runs={tmp_path}", f"--stages={stages}", f"--distill.method={method}"]
    COMMANDS["progressive"](
        [*SHORT, *options, "--structure=null", "--evaluation.rerank_hops=1", "--contrastive.pre_batches=1"]
    )
    assert len(no_float64) > 6 and min(no_float64) > 10


@pytest.mark.parametrize("task", ["RTE", "STS-B"])
def test_berts_train_without_it(task, tmp_path, no_float64):
    data = write_task(tmp_path / "data" / task, task).parent
    write_bert(tmp_path / "bert")
    options = [f"--data.path={data}", f"--task={task}", f"--model.name={tmp_path / 'bert'}", "--model.widths=[8,16,32]"]
    options += ["--evaluation.speed_rounds=0", f"--runs={tmp_path / 'runs'}", "--model.max_length=24"]
    COMMANDS["glue"]([*SHORT, *options])
    assert len(no_float64) > 3 and min(no_float64) > 100


def model_of(graph, name, norm=None):
    torch.manual_seed(0)
    return KgeModel(name, graph.num_entities, graph.num_relations, 6, (2, 3, 6), norm=norm)


@pytest.mark.parametrize(
    ("name", "norm"), [("transe", "l2"), ("transe", "squared"), ("complex", None), ("rotate", None)]
)
def test_widths_are_ranked_on_the_cpu_with_the_same_ranks(name, norm, random_graph, monkeypatch):
    graph = random_graph(2)
    model, asked = model_of(graph, name, norm), []
    expected = width_ranking.rank_widths(model, graph)
    width_scores = KgeModel.width_scores
    monkeypatch.setattr(KgeModel, "width_scores", lambda self, *rest: asked.append(self) or width_scores(self, *rest))
    monkeypatch.setattr(width_ranking, "supports_float64", lambda device: False)
    found = width_ranking.rank_widths(model, graph)
    assert asked and all(copy is not model and copy.device.type == "cpu" for copy in asked)
    assert {width: metrics.to_dict() for width, metrics in found.items()} == {
        width: metrics.to_dict() for width, metrics in expected.items()
    }
    assert all(isinstance(metrics, RankingMetrics) for metrics in found.values())


@pytest.mark.parametrize("name", ["transe", "complex"])
def test_the_order_of_dimensions_is_found_without_it(name, random_graph, monkeypatch):
    graph, options = random_graph(2), LossConfig("logistic", margin=2.0, negatives=5)
    model, batches = model_of(graph, name), [batch_of(graph, options)]
    expected = kge_dimension_order.losses_without(model, batches, options)
    monkeypatch.setattr(devices, "supports_float64", lambda device: False)
    scores_without = kge_dimension_order._scores_without

    def forbidden(*arguments):
        with NoFloat64():
            return [*scores_without(*arguments)]

    monkeypatch.setattr(kge_dimension_order, "_scores_without", forbidden)
    found = kge_dimension_order.losses_without(model, batches, options)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
