"""Log-probabilities and entropies of the tokens that a policy chose, without ever holding B x T x V logits."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlvr_trainers.batch import Batch

CHUNK_ELEMENTS = 1 << 25
"""Logits held at a time: 128 MiB in float32. A smaller product is computed in one piece."""

EntropyKind = Literal["none", "metric", "grad"]


class Policy(nn.Module):
    """A Hugging Face causal language model seen as a policy over tokens.

    The trunk runs over whole rows; the head only over the positions that predict an answer token, in chunks that the
    backward pass computes again. Models whose logits are more than head(trunk(tokens)), such as those that cap them,
    are found out by a probe and go through their own forward instead.
    """

    def __init__(self, model: Any, *, chunk_elements: int = CHUNK_ELEMENTS, packed: bool = False) -> None:
        super().__init__()
        self.model = model
        self.chunk_elements = chunk_elements
        self.packed = packed
        """One long row a micro-batch, for attention kernels that take the borders from the positions."""
        self._split = _logits_are_head_of_trunk(model)

    def forward(
        self, batch: Batch, *, temperature: float = 1.0, entropy: EntropyKind = "none"
    ) -> tuple[Tensor, Tensor | None]:
        """`(logprobs_BT, entropy_BT)` in nats, float32, 0 where `mask_BT` is False.

        Both are of softmax(logits / temperature), the distribution that was sampled from. The entropy is that of the
        whole distribution, without gradient for "metric" and absent for "none".
        """
        chosen_BT = batch.mask_BT[:, 1:]
        targets_N = batch.token_ids_BT[:, 1:][chosen_BT]
        if self._split:
            hidden_NH = self._hidden(batch)[:, :-1][chosen_BT]
            logprobs_N, entropy_N = self._chunked(hidden_NH, targets_N, temperature, entropy)
        else:
            logits_NV = self.model(input_ids=batch.token_ids_BT, use_cache=False).logits[:, :-1][chosen_BT]
            logprobs_N, entropy_N = _of_logits(logits_NV, targets_N, temperature, entropy)
        return _spread(logprobs_N, batch.mask_BT), None if entropy_N is None else _spread(entropy_N, batch.mask_BT)

    def hidden(self, batch: Batch) -> Tensor:
        """`[B, T, H]`: the trunk's last hidden states, for a second head on the same trunk."""
        return self._hidden(batch)

    def _hidden(self, batch: Batch) -> Tensor:
        trunk = _plain(self.model).get_decoder()
        if not self.packed:
            hidden: Tensor = trunk(input_ids=batch.token_ids_BT, use_cache=False).last_hidden_state
            return hidden
        width = batch.token_ids_BT.shape[1]
        positions_T = torch.arange(width, device=batch.token_ids_BT.device)
        real_BT = positions_T[None] < batch.lengths_B[:, None]
        flat = trunk(
            input_ids=batch.token_ids_BT[real_BT][None],
            position_ids=positions_T.expand_as(real_BT)[real_BT][None],
            use_cache=False,
        ).last_hidden_state[0]
        return flat.new_zeros(*real_BT.shape, flat.shape[-1]).masked_scatter(real_BT[..., None], flat)

    def _chunked(
        self, hidden_NH: Tensor, targets_N: Tensor, temperature: float, entropy: EntropyKind
    ) -> tuple[Tensor, Tensor | None]:
        head = _plain(self.model).get_output_embeddings()
        rows = max(1, self.chunk_elements // head.weight.shape[0])
        if len(targets_N) <= rows:
            return _of_logits(head(hidden_NH), targets_N, temperature, entropy)

        def piece(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
            return _of_logits(head(hidden), targets, temperature, entropy)

        pieces = [
            checkpoint(piece, *pair, use_reentrant=False) if torch.is_grad_enabled() else piece(*pair)
            for pair in zip(hidden_NH.split(rows), targets_N.split(rows), strict=True)
        ]
        logprobs_N = torch.cat([logprobs for logprobs, _ in pieces])
        return logprobs_N, None if entropy == "none" else torch.cat([part for _, part in pieces])


def _of_logits(
    logits_NV: Tensor, targets_N: Tensor, temperature: float, entropy: EntropyKind
) -> tuple[Tensor, Tensor | None]:
    logits_NV = logits_NV.float()
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    logprobs_N = -F.cross_entropy(logits_NV, targets_N, reduction="none")
    if entropy == "none":
        return logprobs_N, None
    with torch.set_grad_enabled(torch.is_grad_enabled() and entropy == "grad"):
        distribution_NV = torch.log_softmax(logits_NV if entropy == "grad" else logits_NV.detach(), -1)
        # 0 * -inf would be nan where a model forbids a token outright.
        entropy_N = -(distribution_NV.exp() * distribution_NV.clamp(min=-1e9)).sum(-1)
    return logprobs_N, entropy_N


def _spread(values_N: Tensor, mask_BT: Tensor) -> Tensor:
    return values_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_N)


def _plain(model: Any) -> Any:
    """The Hugging Face model itself, where peft has wrapped it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.no_grad()
def _logits_are_head_of_trunk(model: Any) -> bool:
    plain = _plain(model)
    trunk, head = plain.get_decoder(), plain.get_output_embeddings()
    if trunk is None or trunk is plain or head is None or not isinstance(getattr(head, "weight", None), Tensor):
        return False
    training = model.training
    model.eval()
    try:
        tokens = torch.arange(4, device=head.weight.device)[None] % head.weight.shape[0]
        whole = model(input_ids=tokens, use_cache=False).logits.float()
        split = head(trunk(input_ids=tokens, use_cache=False).last_hidden_state).float()
    finally:
        model.train(training)
    return whole.shape == split.shape and torch.allclose(whole, split, atol=1e-3, rtol=1e-3)
