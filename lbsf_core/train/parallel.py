"""Data-parallel training: `torchrun --nproc-per-node N --no-python lbsf train STORE --out BUNDLE`.

Every process holds the same model. Of each batch a process computes its share of the samples, of
training and of validation alike; logits are gathered, so that loss, early stopping and best epoch
are those of one process, and gradients are averaged by torch's own `DistributedDataParallel` (gloo
on CPUs, NCCL on CUDA). The training loop knows nothing of it: it is given a model whose `forward`
does this.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF
from lbsf_core.train.stored import read


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: number of this one; 0 writes what is to be kept.
        size: how many.
        device: where this one computes.
    """

    rank: int
    size: int
    device: torch.device


def rank() -> int:
    """Number of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def group() -> Iterator[Group | None]:
    """The group of a process that torchrun started with others; None for one alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2:
        yield None
        return
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else None
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), device or torch.device("cpu"))
    finally:
        dist.destroy_process_group()


@contextmanager
def first(among: Group | None) -> Iterator[None]:
    """A block that one process of each machine goes through before the others do."""
    later = among is not None and int(os.environ.get("LOCAL_RANK", "0")) > 0
    if later:
        dist.barrier()
    yield
    if among is not None and not later:
        dist.barrier()


def shared(model: LBSF, among: Group) -> LBSF:
    """The same model, whose `forward` computes this process's share; undone by `alone`."""
    model = model.to(among.device)
    # It finds by itself which parameters a batch did not use, e.g. words that none has.
    parallel = DistributedDataParallel(
        _Plain(model), broadcast_buffers=False, find_unused_parameters=True
    )

    def forward(batch: FoldedBatch) -> Tensor:
        order = np.argsort(-batch.payment_counts, kind="stable")  # like shares of the work
        mine = order[among.rank :: among.size]
        part = batch.select(mine if len(mine) else order[:1])
        # Each process reads its own share, where the payments are on the disk.
        logits: Tensor = parallel(part) if model.training else LBSF.forward(model, read(part))
        if not len(mine):  # fewer samples than processes: take part, say nothing
            logits = logits[:0] + 0.0 * logits.sum()
        whole = _gathered(logits.detach(), order, among)
        if not model.training:
            return whole
        # The loss is a mean over the whole batch, gradients are averaged over processes: each one's
        # own logits count as often as there are processes.
        own = among.size * logits - (among.size - 1) * logits.detach()
        return whole.index_put((torch.from_numpy(mine).to(whole.device),), own)

    model.forward = forward  # type: ignore[method-assign]
    return model


def builder(build: Callable[[FoldedBatch], LBSF], among: Group) -> Callable[[FoldedBatch], LBSF]:
    """What makes the model that `loop.fit` trains, from what makes it for one process."""
    return lambda part: shared(build(part), among)


def alone(model: nn.Module) -> None:
    """Give a model of `shared`, or of `stored.reading`, its own methods back."""
    for name in ("forward", "fit_typical"):
        model.__dict__.pop(name, None)


def own_checkpoint(folder: Path, among: Group) -> Path:
    """Where this process keeps its state: as process 0 has it, so that all go on from one epoch."""
    own = folder if among.rank == 0 else folder.with_name(f"{folder.name}.{among.rank}")
    if among.rank:
        shutil.rmtree(own, ignore_errors=True)
        if (folder / "state.json").is_file():
            shutil.copytree(folder, own)
    dist.barrier()  # process 0 may write from here on
    return own


class _Plain(nn.Module):
    """The model's own forward, for the wrapper that averages gradients."""

    def __init__(self, model: LBSF) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: FoldedBatch) -> Tensor:
        return LBSF.forward(self.model, read(batch))


def _gathered(logits: Tensor, order: np.ndarray, among: Group) -> Tensor:
    """(B,) logits of all samples of a batch, from every process's share."""
    longest = -(-len(order) // among.size)
    padded = logits.new_zeros(longest)
    padded[: len(logits)] = logits
    shares = [torch.empty_like(padded) for _ in range(among.size)]
    dist.all_gather(shares, padded)
    whole = logits.new_zeros(len(order))
    for number, share in enumerate(shares):
        rows = torch.from_numpy(order[number :: among.size]).to(whole.device)
        whole[rows] = share[: len(rows)]
    return whole
