"""What do four widths of a BERT cost beside one, and how fast is each when cropped? Ratios from one run; run by hand.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python scripts/bench/bert_med.py --length 128

A step is a whole one: forward, cross-entropy of every width asked for, backward, AdamW. "transformers" is a plain
`BertForSequenceClassification`; "separate models" makes a step of every cropped model, as training every width apart must, and
"FLOPs" is the ratio that arithmetic predicts. Inference is that of the stand-alone models that `crop` gives, in eval
mode. All take turns; seconds are those of the processor (by the clock on a GPU). FLOPs count linear layers and attention
without softmax.

On one thread of an AMD EPYC (AVX2), 6-layer MiniLM (384 wide), 32 sequences: four widths 1.84 × (64 tokens) and 1.73 × (128) a
full-width step. Speed-up of 256, 128 and 64 at 128 tokens: 1.99 ×, 6.1 × and 17.2 ×, of 2.2, 8.1 and 28.5 by FLOPs. The linear
layers alone keep up (965, 490, 115 and 34 ms from the widest to the narrowest, 28.5 × again); softmax, GELU, LayerNorm and
copies shrink with the width and not with its square (330, 156, 74 and 43 ms).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, machine

from pmd.core.errors import PmdError
from pmd.models.croppable_bert import CroppableBertForSequenceClassification, flops
from pmd.recipes.cli import run
from pmd.recipes.device import keep_freed_memory, quiet
from pmd.recipes.tables import markdown


def main(
    encoder: str = MINILM,
    widths: tuple[int, ...] = (64, 128, 256, 384),
    batch: int = 32,
    length: int = 64,
    repetitions: int = 5,
    dropout: float = 0.1,
    bf16: bool = False,
    threads: int = 0,
    device: str = "cpu",
) -> None:
    """Time training steps and inference.

    Args:
        encoder: a BERT: Hub id, folder or package:NAME/FOLDER.
        widths: of its sub-models, the last one its hidden size.
        batch: sequences in a step, and in a batch of inference.
        length: tokens of a sequence; one in four is padded to it from half.
        repetitions: how often all are timed, in turns.
        dropout: of hidden states and attention, in training.
        bf16: steps and inference in mixed precision.
        threads: CPU threads; 0 for PyTorch's choice.
        device: cpu or cuda.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PmdError("--device: no GPU to be seen here; use cpu")
    quiet()
    keep_freed_memory()
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    chances = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = CroppableBertForSequenceClassification.from_pretrained(encoder, widths=widths, num_labels=2, **chances)
    model.to(device)
    texts = {
        "input_ids": torch.randint(1000, model.config.vocab_size, (batch, length), device=device),
        "attention_mask": torch.ones(batch, length, dtype=torch.long, device=device),
    }
    texts["attention_mask"][::4, length // 2 :] = 0
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        print(f"{encoder}, {batch} × {length} tokens, dropout {dropout}, {place(device)}\n")
        print(
            markdown(
                ("step", "s", "beside the full width", "least beside least", "FLOPs"), steps(model, texts, repetitions)
            )
        )
        print()
        columns = ("width", "parameters, M", "inference, ms", "speed-up", "FLOPs", "reached")
        print(markdown(columns, inference(model, texts, repetitions)))
    print(f"\nmedians of {repetitions} turns, ratios within a turn")


def steps(
    model: CroppableBertForSequenceClassification, texts: dict[str, Tensor], repetitions: int
) -> list[tuple[str, ...]]:
    """A row for each way to make a step."""
    model.train()
    labels = torch.arange(len(texts["input_ids"]), device=model.device) % 2
    plain, full = model.crop(model.widths[-1]), [model.widths[-1]]

    def loss(widths: list[int] | None) -> Tensor:
        logits = model.forward_widths(**texts, widths=widths)  # (n, b, 2)
        return torch.stack([cross_entropy(one, labels) for one in logits]).sum()

    def step_apart(width: int) -> Callable[[], None]:
        small = model.crop(width)
        return step_of(small, lambda: cross_entropy(small(**texts).logits, labels))

    one_by_one = [step_apart(width) for width in model.widths]
    ways: dict[str, Callable[[], None]] = {
        "the full width": step_of(model, lambda: loss(full)),
        "transformers": step_of(plain, lambda: cross_entropy(plain(**texts).logits, labels)),
        f"{len(model.widths)} widths": step_of(model, lambda: loss(None)),
        "separate models": lambda: [step() for step in one_by_one] and None,
    }
    cost = [flops(model.crop(width).config, texts["input_ids"].shape[1]) for width in model.widths]
    all_of_them = f"{sum(cost) / cost[-1]:.2f} ×"
    expected = ["1.00 ×", "1.00 ×", all_of_them, all_of_them]
    found = in_turns(ways, repetitions, model.device)
    base = found["the full width"]
    return [
        (way, f"{statistics.median(s):.3f}", f"{within(s, base):.2f} ×", f"{min(s) / min(base):.2f} ×", arithmetic)
        for (way, s), arithmetic in zip(found.items(), expected)
    ]


def step_of(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def inference(
    model: CroppableBertForSequenceClassification, texts: dict[str, Tensor], repetitions: int
) -> list[tuple[str, ...]]:
    """A row for each cropped model, the widest first."""
    cropped = {width: model.crop(width).eval() for width in reversed(model.widths)}
    with torch.inference_mode():
        ways = {str(width): (lambda small=small: small(**texts)) for width, small in cropped.items()}
        found = in_turns(ways, repetitions, model.device)
    base, length = found[str(model.widths[-1])], texts["input_ids"].shape[1]
    most, rows = flops(model.config, length), []
    for width, small in cropped.items():
        seconds, arithmetic = found[str(width)], most / flops(small.config, length)
        speed = 1 / within(seconds, base)
        count = sum(parameter.numel() for parameter in small.parameters()) / 1e6
        times = f"{statistics.median(seconds) * 1000:.1f}"
        rows.append(
            (width, f"{count:.2f}", times, f"{speed:.2f} ×", f"{arithmetic:.2f} ×", f"{speed / arithmetic:.0%}")
        )
    return rows


def in_turns(ways: dict[str, Callable[[], object]], repetitions: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each way in each turn, after one turn to warm up."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repetitions + 1):
        for way, call in ways.items():
            seconds = spent(call, device)
            if turn:
                found[way].append(seconds)
    return found


def spent(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of the processor; by the clock on a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def within(seconds: list[float], base: list[float]) -> float:
    """The median over turns of the ratio within a turn: what else the machine does falls on both."""
    return statistics.median(one / other for one, other in zip(seconds, base))


def place(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else machine()


if __name__ == "__main__":
    run(lambda: auto_cli(main))
