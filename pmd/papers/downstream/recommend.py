"""Neural collaborative filtering with service vectors: a trained user embedding helps to recommend.

NeuMF (He et al., WWW 2017): a product of user and item factors (GMF) and a perceptron on their concatenation. PKGM
(Zhang et al., 2021) and MED (Eq. 12) give the perceptron a third input, the embedding u of the user from a knowledge
graph, which is not trained further:

    data = read_interactions(graph, folder)
    vectors = standardised(entity_vectors(pmd.load(run).model, data.users, width=16))
    model, metrics = train_ncf(data, vectors, NcfConfig(), seed=0)  # metrics["test"]["ndcg@10"]

The item left out of a user's is ranked among all items that the user is not known to have met.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pmd.papers.downstream.interactions import Interactions
from pmd.papers.downstream.metrics import ndcg


@dataclass
class NcfConfig:
    """The recommender and its training.

    Args:
        factors: of users and items, in the product and in the perceptron each.
        layers: widths of the perceptron's hidden layers.
        negatives: items that the user did not buy, drawn for each purchase, anew in every epoch.
        epochs: at most; the best one by ndcg@10 on validation is kept.
        valid_every: epochs between two validations.
        patience: stop after so many validations without a better one.
        batch_size: of purchases and negatives.
        lr: of Adam.
        weight_decay: of Adam: the one that is best on validation is kept.
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
        if vectors is None:
            vectors = torch.empty(users, 0)
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
        models = [train_once(data, vectors, config, decay, seed) for decay in config.weight_decay]
    _, model = max(models, key=lambda found: found[0])
    scores, left_out = model.score_all(), {"valid": data.valid, "test": data.test}
    return model, {
        part: {f"ndcg@{k}": ndcg(scores, items, data.excluded(part), k) for k in (5, 10)}
        for part, items in left_out.items()
    }


def train_once(
    data: Interactions, vectors: Tensor | None, config: NcfConfig, decay: float, seed: int
) -> tuple[float, NeuMF]:
    """Train with one weight decay: ndcg@10 on validation, and the model of that epoch."""
    torch.manual_seed(seed)
    model = NeuMF(len(data.users), len(data.items), vectors, config)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, weight_decay=decay)
    bought = torch.zeros_like(data.seen)
    bought[tuple(data.train.T)] = True
    best, kept, since = -1.0, model, 0
    for epoch in range(1, config.epochs + 1):
        run_epoch(model, optimizer, data.train, bought, config)
        if epoch % config.valid_every and epoch < config.epochs:
            continue
        now, since = ndcg(model.score_all(), data.valid, data.excluded("valid"), 10), since + 1
        if now > best:
            best, kept, since = now, copy.deepcopy(model), 0
        if since >= config.patience:
            break
    return best, kept


def run_epoch(model: NeuMF, optimizer: torch.optim.Optimizer, pairs: Tensor, bought: Tensor, config: NcfConfig) -> None:
    """Once through the purchases (n, 2), each with negatives of its user; `bought` (u, i) says what is none."""
    model.train()
    users = pairs[:, 0].repeat_interleave(config.negatives)
    items = draw_negatives(users, bought)
    users = torch.cat([pairs[:, 0], users])
    items = torch.cat([pairs[:, 1], items])
    labels = torch.zeros(len(users))
    labels[: len(pairs)] = 1
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
