"""Table 5 of MED (Zhu et al., ACL 2025), recommendation: collaborative filtering helped by trained user embeddings.

NeuMF (He et al., WWW 2017): a product of user and item factors (GMF) and a perceptron on their concatenation. PKGM
(Zhang et al., 2021) and MED (Eq. 12) give the perceptron a third input, the embedding u of the user from a knowledge
graph, which is not trained further:

    data = read_interactions(graph, folder)
    vectors = standardised(pmd.load(run).model.entity_vectors(data.users, width=16))
    model, metrics = train_ncf(data, vectors, NcfConfig(), seed=0)  # metrics["test"]["ndcg@10"]

The held-out item of a user is ranked among all items that the user is not known to have met.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pmd.papers.downstream.interactions import Interactions


@dataclass
class NcfConfig:
    """The recommender and its training.

    Args:
        factors: of users and items, in the product and in the perceptron each.
        layers: widths of the perceptron's hidden layers.
        negatives: items that the user did not buy, drawn anew for each purchase in every epoch.
        epochs: epochs at most; the best one by ndcg@10 on validation is kept.
        valid_every: epochs between two validations.
        patience: validations without a better one after which training stops.
        batch_size: purchases and negatives in a batch.
        lr: Adam's.
        weight_decay: Adam's; the one that is best on validation is kept.
        dropout: of the perceptron's inputs.
    """

    factors: int = 16
    layers: list[int] = field(default_factory=lambda: [32, 16])
    negatives: int = 16
    epochs: int = 36
    valid_every: int = 3
    patience: int = 4
    batch_size: int = 2048
    lr: float = 0.005
    weight_decay: list[float] = field(default_factory=lambda: [1e-5, 1e-4])
    dropout: float = 0.2


class NeuMF(nn.Module):
    """Logits of purchases; `vectors` (u, d) are the service vectors, None for plain NCF."""

    def __init__(self, users: int, items: int, vectors: Tensor | None, config: NcfConfig):
        super().__init__()
        vectors = torch.empty(users, 0) if vectors is None else vectors
        self.register_buffer("vectors", vectors, persistent=False)
        tables = [nn.Embedding(count, config.factors) for count in (users, items, users, items)]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)  # with the authors' 0.01 Adam takes many epochs to leave 0
        self.gmf_user, self.gmf_item, self.user, self.item = tables
        sizes = [2 * config.factors + vectors.shape[1], *config.layers]
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
        self.perceptron = nn.Sequential(nn.Dropout(config.dropout), *layers)
        self.output = nn.Linear(config.factors + sizes[-1], 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Positions of users and items that broadcast -> logits of the same shape."""
        users, items = torch.broadcast_tensors(users, items)
        product = self.gmf_user(users) * self.gmf_item(items)
        joined = torch.cat([self.user(users), self.item(items), self.vectors[users]], -1)  # [p; q; u], Eq. 12
        return self.output(torch.cat([product, self.perceptron(joined)], -1)).squeeze(-1)

    @torch.no_grad()
    def score_all(self, chunk: int = 64) -> Tensor:
        """(u, i): every item for every user, without dropout."""
        self.eval()
        items = torch.arange(self.item.num_embeddings, device=self.vectors.device)
        users = torch.arange(self.user.num_embeddings, device=self.vectors.device)
        return torch.cat([self(part[:, None], items) for part in users.split(chunk)])


def train_ncf(
    data: Interactions, vectors: Tensor | None, config: NcfConfig, seed: int
) -> tuple[NeuMF, dict[str, dict[str, float]]]:
    """Train on the purchases; the best model on validation, and `ndcg@5` and `ndcg@10` on `valid` and `test`."""
    with torch.random.fork_rng(devices=[]):
        trained = [train_once(data, vectors, config, weight_decay, seed) for weight_decay in config.weight_decay]
    _, model = max(trained, key=lambda pair: pair[0])
    scores, held_out = model.score_all(), {"valid": data.valid, "test": data.test}
    return model, {
        part: {f"ndcg@{k}": ndcg(scores, items, data.excluded(part), k) for k in (5, 10)}
        for part, items in held_out.items()
    }


def train_once(
    data: Interactions, vectors: Tensor | None, config: NcfConfig, weight_decay: float, seed: int
) -> tuple[float, NeuMF]:
    """Train with one weight decay: the best ndcg@10 on validation, and the model of that epoch."""
    torch.manual_seed(seed)
    model = NeuMF(len(data.users), len(data.items), vectors, config)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, weight_decay=weight_decay)
    bought = torch.zeros_like(data.seen)
    bought[tuple(data.train.T)] = True
    best_ndcg, best_model, since_best = -1.0, model, 0
    for epoch in range(1, config.epochs + 1):
        run_epoch(model, optimizer, data.train, bought, config)
        if epoch % config.valid_every and epoch < config.epochs:
            continue
        valid_ndcg, since_best = ndcg(model.score_all(), data.valid, data.excluded("valid"), 10), since_best + 1
        if valid_ndcg > best_ndcg:
            best_ndcg, best_model, since_best = valid_ndcg, copy.deepcopy(model), 0
        if since_best >= config.patience:
            break
    return best_ndcg, best_model


def run_epoch(model: NeuMF, optimizer: torch.optim.Optimizer, pairs: Tensor, bought: Tensor, config: NcfConfig) -> None:
    """One pass over the purchases (n, 2), each with items as negatives that its user has not `bought` (u, i)."""
    model.train()
    others = pairs[:, 0].repeat_interleave(config.negatives)
    users, items = torch.cat([pairs, torch.stack([others, draw_negatives(others, bought)], 1)]).T
    labels = (torch.arange(len(users)) < len(pairs)).float()
    for batch in torch.randperm(len(users)).split(config.batch_size):
        loss = binary_cross_entropy_with_logits(model(users[batch], items[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def draw_negatives(users: Tensor, bought: Tensor) -> Tensor:
    """For each of users (n,) an item that is not `bought` (u, i), evenly."""
    items = torch.randint(bought.shape[1], users.shape)
    for _ in range(100):
        wrong = bought[users, items]
        if not wrong.any():
            break
        items[wrong] = torch.randint(bought.shape[1], (int(wrong.sum()),))
    return items


def ndcg(scores: Tensor, wanted: Tensor, excluded: Tensor, k: int) -> float:
    """ndcg@k of one wanted item for each user, mean over users: 1 / log2(1 + rank) up to rank k, else 0.

    Tied items share their ranks, as in scikit-learn's `ndcg_score`, which takes a hundred times as long.

    Args:
        scores: (u, i), higher is better.
        wanted: (u,) positions of items.
        excluded: (u, i) booleans: what is no candidate.
    """
    wanted_scores = scores.gather(1, wanted[:, None])
    better = ((scores > wanted_scores) & ~excluded).sum(1).cpu()
    tied = ((scores == wanted_scores) & ~excluded).sum(1).cpu()  # the wanted item is one of them
    gains = 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()
    total_gains = torch.nn.functional.pad(gains.cumsum(0), (1, 0))  # (k + 1,): of the first 0 to k ranks
    ndcgs = (total_gains[(better + tied).clamp(max=k)] - total_gains[better.clamp(max=k)]) / tied
    return float(ndcgs.mean())


def standardised(vectors: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
    """Every feature with mean 0 and variance 1 over `rows`, so that no method gains by the scale of its features."""
    chosen = vectors[rows]
    return (vectors - chosen.mean(0)) / chosen.std(0, correction=0).clamp(min=1e-6)
