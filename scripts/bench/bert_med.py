"""What do four widths of a BERT cost compared with one, and how fast is each when cropped? Run by hand.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python scripts/bench/bert_med.py --length 128 --data DIR/glue --task cola

A step is that of a run: packed batches (texts share rows; "padded" gives each text a row), the cross-entropy of all
widths, backward, clipped gradients, AdamW. "transformers" is a plain `BertForSequenceClassification`; "separate models"
makes a step with every cropped model, as training them one by one must; "FLOPs" is the ratio that arithmetic predicts.
Inference is that of the stand-alone models that `crop` makes. All take turns; seconds are those of the processor, on a
GPU by the clock. FLOPs count linear layers and attention without softmax.

Results are in docs/benchmarks.md.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent))
from common import MINILM, machine

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.core.quiet import quiet
from pmd.data.glue import EncodedSplit, GlueBatch, load_glue
from pmd.data.texts.batches import Chunk
from pmd.distill.bert_finetune import batch_logits, batch_logits_widths
from pmd.evaluation.tables import markdown
from pmd.models.bert.croppable import CroppableBertForSequenceClassification, flops
from pmd.models.bert.folder import tokenizer_of
from pmd.settings.catalogue import task_of
from pmd.training.device import keep_freed_memory

Step = Callable[[GlueBatch], None]


def main(
    encoder: str = MINILM,
    widths: tuple[int, ...] = (64, 128, 256, 384),
    batch: int = 32,
    length: int = 64,
    data: str | None = None,
    task: str = "rte",
    repetitions: int = 5,
    dropout: float = 0.1,
    bf16: bool = False,
    threads: int = 0,
    device: str = "cpu",
) -> None:
    """Time training steps and inference.

    Args:
        encoder: a BERT: a Hub id, a folder or package:NAME/FOLDER.
        widths: widths of its sub-models; the last one is its hidden size.
        batch: sequences in a batch, of a step and of inference.
        length: tokens of a sequence; one in four has half as many and is padded. With `data`, the largest length.
        data: where GLUE is: a folder of tasks, or a data set of the Hub; its texts are used, new ones in each turn.
        task: the task, with `data`.
        repetitions: how often each way is timed, in turns.
        dropout: dropout of hidden states and attention in training.
        bf16: use mixed precision.
        threads: CPU threads; 0 for PyTorch's choice.
        device: cpu or cuda.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PmdError("--device: cuda is not available; use cpu")
    quiet()
    keep_freed_memory()
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    chances = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = CroppableBertForSequenceClassification.from_pretrained(encoder, widths=widths, num_labels=2, **chances)
    model.to(device)
    if data is None:
        batches = [random_batch(model, batch, length)] * (repetitions + 1)
    else:
        batches = task_batches(data, task, encoder, batch, length, repetitions + 1)
    batches = [one.to(torch.device(device)) for one in batches]
    texts = f"{length} tokens" if data is None else f"texts of {task_of(task).title}"
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        print(f"{encoder}, {batch} × {texts}, dropout {dropout}, {machine_of(device)}\n")
        print(markdown(("step", "s", "beside the full width", "least beside least", "FLOPs"), steps(model, batches)))
        print()
        columns = ("width", "parameters, M", "inference, ms", "speed-up", "FLOPs", "reached")
        print(markdown(columns, inference(model, batches)))
    print(f"\nmedians of {repetitions} turns, ratios within a turn")


def random_batch(model: CroppableBertForSequenceClassification, batch: int, length: int) -> GlueBatch:
    """Texts of random tokens; one in four is half as long."""
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[batch - batch // 4 :, length // 2 :] = 0
    ids, rows = torch.randint(1000, model.config.vocab_size, (batch, length)), torch.arange(batch)
    return GlueBatch.of(Chunk(ids, mask, torch.zeros_like(ids), rows), rows % 2, rows)


def task_batches(data: str, task: str, encoder: str, batch: int, length: int, count: int) -> list[GlueBatch]:
    """Random batches of a task's training texts, with labels of two classes in turn."""
    split = load_glue(data, task_of(task), train_examples=batch * count).splits["train"]
    encoded = EncodedSplit(split, tokenizer_of(encoder), length)
    batches = [encoded(positions) for positions in torch.randperm(len(encoded)).split(batch)[:count]]
    return [GlueBatch.of(one.texts, torch.arange(len(one.labels)) % 2, one.positions) for one in batches]


def steps(model: CroppableBertForSequenceClassification, batches: Sequence[GlueBatch]) -> list[tuple[str, ...]]:
    """A row for each way to compute a step."""
    model.train()
    plain, full, every = model.crop(model.widths[-1]), [model.widths[-1]], [*model.widths]
    many = f"{len(every)} widths"
    apart = [model.crop(width) for width in model.widths]

    def loss(logits: Tensor, batch: GlueBatch) -> Tensor:
        return torch.stack([cross_entropy(one, batch.labels) for one in logits]).sum()  # (n, b, 2)

    def croppable(widths: list[int], padded: bool = False) -> Step:
        def of(batch: GlueBatch) -> Tensor:
            logits = (
                model.forward_widths(**batch.inputs, widths=widths)
                if padded
                else batch_logits_widths(model, batch, widths)
            )
            return loss(logits, batch)

        return step_of(model, of)

    def ordinary(small: nn.Module) -> Step:
        return step_of(small, lambda batch: loss(batch_logits(small, batch)[None], batch))

    one_by_one = [ordinary(small) for small in apart]
    ways: dict[str, Step] = {
        "the full width": croppable(full),
        "the full width, padded": croppable(full, padded=True),
        "transformers": ordinary(plain),
        many: croppable(every),
        f"{many}, padded": croppable(every, padded=True),
        "separate models": lambda batch: [step(batch) for step in one_by_one] and None,
    }
    cost = [flops(small.config, length_of(batches)) for small in apart]
    all_of_them = f"{sum(cost) / cost[-1]:.2f} ×"
    expected = [*["1.00 ×"] * 3, *[all_of_them] * 3]
    times = in_turns(ways, batches, model.device)
    base = times["the full width"]
    return [
        (
            way,
            f"{statistics.median(s):.3f}",
            f"{ratio_within_turns(s, base):.2f} ×",
            f"{min(s) / min(base):.2f} ×",
            arithmetic,
        )
        for (way, s), arithmetic in zip(times.items(), expected)
    ]


def length_of(batches: Sequence[GlueBatch]) -> int:
    """Tokens of the longest text in a batch, the mean over the batches."""
    return round(statistics.fmean(batch.texts.input_ids.shape[1] for batch in batches))


def step_of(model: nn.Module, loss: Callable[[GlueBatch], Tensor]) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(batch: GlueBatch) -> None:
        loss(batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def inference(model: CroppableBertForSequenceClassification, batches: Sequence[GlueBatch]) -> list[tuple[str, ...]]:
    """A row for each cropped model, the widest first."""
    cropped = {width: model.crop(width).eval() for width in reversed(model.widths)}
    with torch.inference_mode():
        ways = {str(width): (lambda batch, small=small: small(**batch.inputs)) for width, small in cropped.items()}
        times = in_turns(ways, batches, model.device)
    base, length = times[str(model.widths[-1])], length_of(batches)
    most, rows = flops(model.config, length), []
    for width, small in cropped.items():
        seconds, arithmetic = times[str(width)], most / flops(small.config, length)
        speed = 1 / ratio_within_turns(seconds, base)
        count = sum(parameter.numel() for parameter in small.parameters()) / 1e6
        milliseconds = f"{statistics.median(seconds) * 1000:.1f}"
        rows.append(
            (width, f"{count:.2f}", milliseconds, f"{speed:.2f} ×", f"{arithmetic:.2f} ×", f"{speed / arithmetic:.0%}")
        )
    return rows


def in_turns(
    ways: dict[str, Callable[[GlueBatch], object]], batches: Sequence[GlueBatch], device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each way in each turn, after a turn to warm up; every turn has a batch of its own."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn, batch in enumerate(batches):
        for way, call in ways.items():
            seconds = seconds_of(partial(call, batch), device)
            if turn:
                times[way].append(seconds)
    return times


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of the processor that a call takes; on a GPU, seconds by the clock."""
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def ratio_within_turns(seconds: list[float], base: list[float]) -> float:
    """The median over turns of the ratio within a turn; whatever else the machine does falls on both."""
    return statistics.median(one / other for one, other in zip(seconds, base))


def machine_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else machine()


if __name__ == "__main__":
    run(lambda: auto_cli(main))
