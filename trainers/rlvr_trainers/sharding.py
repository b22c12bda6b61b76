"""A model in pieces on several ranks, and the rows of a batch shared out among them.

Weights, gradients and the optimizer's moments are sharded by PyTorch's FSDP2 (`fully_shard`; Zhao et al. 2023,
arXiv:2304.11277). Every rank holds the whole batch and works out from it alone who computes which rows, so nothing has to be
agreed on. Gradients are summed, not averaged: each row's share of the loss is divided by the denominators of the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.handing_out import hand_out, take_out

T = TypeVar("T")
Part = TypeVar("Part")


class Spread:
    """How a model and the rows it works on are spread over ranks. With one rank everything is whole and nothing changes."""

    def __init__(
        self, model: Any, ranks: Ranks = ALONE, device: torch.device | None = None, *, offload: bool = False
    ) -> None:
        """Shards `model` in place where there are several ranks; each then holds its pieces on `device`.

        Its weights are the first rank's; the others' may lie on the meta device. With `offload` the pieces lie in main memory,
        gradients too, and the optimizer works there.
        """
        self.ranks = ranks
        self._place = device or torch.device("cpu")
        self._root = shard(model, ranks, self._place, offload=offload) if ranks.size > 1 else None

    def run(self, call: Callable[[], T]) -> T:
        """`call()`, in which the model can be used whole. All ranks are in here together, or none is."""
        if self._root is None:
            return call()
        result: T = self._root(call)
        return result

    def micro_batches(self, batch: Batch, token_budget: int) -> list[tuple[Tensor, bool]]:
        """This rank's micro-batches as row numbers, and whether they count."""
        if self.ranks.size == 1:
            return [(rows, True) for rows in batch.micro_batches(token_budget)]

        def cut(rows: list[int]) -> list[Tensor]:
            rows_N = torch.tensor(rows)
            return [rows_N[part] for part in batch.select(rows_N).micro_batches(token_budget)]

        return self.deal(range(batch.num_rows), batch.lengths_B.tolist(), cut)

    def deal(
        self, items: Sequence[T], lengths: Sequence[int], cut: Callable[[list[T]], list[Part]]
    ) -> list[tuple[Part, bool]]:
        """This rank's share of the items, by length, as `cut` parts it; and whether each part counts.

        All ranks get equally many parts, because FSDP's passes are collective: where one has run out it repeats the shortest
        item, whose results are thrown away.
        """
        if self.ranks.size == 1:
            return [(part, True) for part in cut(list(items))]
        shares = balanced_rows(torch.tensor(lengths), self.ranks.size)
        plans = [cut([items[number] for number in share.tolist()]) if len(share) else [] for share in shares]
        mine, missing = plans[self.ranks.rank], max(map(len, plans)) - len(plans[self.ranks.rank])
        (filler,) = cut([items[lengths.index(min(lengths))]])
        return [(part, True) for part in mine] + [(filler, False)] * missing

    def per_token(
        self, batch: Batch, compute: Callable[[Batch], Tensor], *, token_budget: int, device: torch.device
    ) -> Tensor:
        """`[B, T]` on the CPU, on every rank: what `compute` gives for the rows of each micro-batch. Without gradient."""
        result_BT = torch.zeros(batch.token_ids_BT.shape)
        with torch.no_grad():
            for rows, counts in self.micro_batches(batch, token_budget):
                micro = batch.select(rows).to(device)
                values_BT = self.run(lambda micro=micro: compute(micro))  # type: ignore[misc]
                if counts:
                    result_BT[rows, : values_BT.shape[1]] = values_BT.cpu()
        return self.ranks.sum(result_BT)

    def load(self, model: Any, other: Any) -> None:
        """Give `model`, which is spread here, the weights of another one of its kind, of which the first rank's count."""
        if self.ranks.size == 1:
            model.load_state_dict(other.state_dict())
        else:
            hand_out(model, take_out(other, self.ranks), self.ranks, self._place)

    def total(self, shares: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Sums over ranks of scalars that every rank has under the same names."""
        if self.ranks.size == 1:
            return {name: float(share) for name, share in shares.items()}
        names = sorted(shares)
        summed = self.ranks.sum(torch.tensor([float(shares[name]) for name in names], dtype=torch.float64))
        return dict(zip(names, summed.tolist(), strict=True))


WHOLE = Spread(None)
"""A model that one process has whole, with all rows."""


class _Root(nn.Module):
    """FSDP gathers what is outside the layers for the length of this module's forward, whatever that calls."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()


def shard(model: Any, ranks: Ranks, device: torch.device, *, offload: bool = False) -> nn.Module:
    """Shard a Hugging Face model in place, a group of weights for each layer and one for the rest; returns what runs it.

    The weights are the first rank's, handed out one at a time; no other rank ever holds one whole.
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard

    mesh = ranks.mesh(device.type)
    policy = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy()
    root, sources = _Root(model), take_out(model, ranks)
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh, offload_policy=policy)
    # Gathered again in the backward pass: left whole after a forward, its weights would hide the sharded ones.
    fully_shard(root, mesh=mesh, reshard_after_forward=True, offload_policy=policy)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo cannot scale while it sums
    root.to_empty(device="cpu" if offload else device)
    hand_out(model, sources, ranks, device)
    return root


def _layers(model: Any) -> Iterator[nn.Module]:
    """The blocks that transformers itself keeps whole when it places a model on several devices."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = set(plain._no_split_modules or ())
    for module in plain.modules():
        if type(module).__name__ in names and any(True for _ in module.parameters()):
            yield module


def balanced_rows(lengths_B: Tensor, parts: int) -> list[Tensor]:
    """Row numbers of each part, in ascending order: the longest row left goes to the part with the fewest tokens so far.

    Graham 1969 (SIAM J. Appl. Math. 17): the fullest part is at most 4/3 - 1/(3 parts) of the best possible.
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    tokens = [0] * parts
    lengths = lengths_B.tolist()
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        part = min(range(parts), key=lambda part: tokens[part])
        shares[part].append(row)
        tokens[part] += lengths[row]
    return [torch.tensor(sorted(rows), dtype=torch.int64) for rows in shares]


def whole(tensor: Tensor) -> Tensor:
    """The tensor whose piece this is, gathered from all ranks, which all have to ask; itself where it is not in pieces."""
    full = getattr(tensor, "full_tensor", None)
    return tensor if full is None else full()


def local(tensor: Tensor) -> Tensor:
    """This rank's piece; the tensor itself where it is not in pieces."""
    piece = getattr(tensor, "to_local", None)
    return tensor if piece is None else piece()
