"""Log-probabilities and entropies of the tokens that a policy chose, without ever holding B x T x V logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlvr.generation.engine import Sampling
from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.packed_attention import row_borders, use_packed_attention
from rlvr_trainers.sharding import WHOLE, Spread

CHUNK_ELEMENTS = 1 << 25
"""Logits held at a time: 128 MiB in float32. A smaller product is computed in one piece."""

EntropyKind = Literal["none", "metric", "grad"]
Measure = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Values `[N]` from the logits `[N, V]` and the tokens `[N]` that were chosen."""


class Policy(nn.Module):
    """A Hugging Face causal language model seen as a policy over tokens.

    The trunk runs over whole rows; the head only over the positions that predict an answer token, in chunks that the
    backward pass computes again. Models whose logits are more than head(trunk(tokens)), such as those that cap them,
    are found out by a probe and go through their own forward instead.
    """

    def __init__(self, model: Any, *, chunk_elements: int = CHUNK_ELEMENTS, spread: Spread = WHOLE) -> None:
        """`spread` says over which ranks the model lies in pieces; all of them make the policy together."""
        super().__init__()
        self.model = model
        self.chunk_elements = chunk_elements
        self.packed = False
        """Lay the rows of a micro-batch end to end; see `pack`."""
        self._split = spread.run(lambda: _logits_are_head_of_trunk(model))

    def pack(self) -> None:
        """From now on compute no padding, where the model's attention allows it. The results differ by rounding only."""
        self.packed = self._split and use_packed_attention(_plain(self.model))

    def forward(
        self,
        batch: Batch,
        *,
        temperature: float = 1.0,
        entropy: EntropyKind = "none",
        hidden_BTH: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`(logprobs_BT, entropy_BT)` in nats, float32, 0 where `mask_BT` is False.

        Both are of softmax(logits / temperature), the distribution that was sampled from. The entropy is that of the
        whole distribution, without gradient for "metric" and absent for "none". `hidden_BTH`, what `hidden` gave for the
        same batch, spares the trunk a second pass where another head has used it.
        """

        def measure(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, ...]:
            if temperature != 1.0:
                logits_NV = logits_NV / temperature
            logprobs_N = -F.cross_entropy(logits_NV, targets_N, reduction="none")
            if entropy == "none":
                return (logprobs_N,)
            if entropy == "metric":
                logits_NV = logits_NV.detach()
            return logprobs_N, losses.entropy(logits_NV)

        logprobs_BT, *rest = self._per_answer_token(batch, measure, hidden_BTH)
        return logprobs_BT, rest[0] if rest else None

    @torch.no_grad()
    def kept_log_mass(self, batch: Batch, sampling: Sampling) -> Tensor:
        """`[B, T]`: log of the probability that top-p, top-k and min-p left where each answer token was drawn."""
        return self._per_answer_token(batch, lambda logits_NV, _: (losses.kept_log_mass(logits_NV, sampling),))[0]

    def full_kl(
        self, batch: Batch, reference: Policy, *, temperature: float = 1.0, hidden_BTH: Tensor | None = None
    ) -> Tensor:
        """`[B, T]`, float32: KL of this policy from another over the whole vocabulary, where each answer token was chosen.

        0 where `mask_BT` is False. Only this policy gets a gradient. It costs a pass of each trunk; `hidden_BTH` spares ours.
        """
        with torch.no_grad():
            theirs = reference._states(batch)
        ours = self._states(batch, hidden_BTH)

        def piece(our_NH: Tensor, their_NH: Tensor) -> Tensor:
            with torch.no_grad():
                ref_logits_NV = reference._logits(their_NH) / temperature
            return losses.full_kl(self._logits(our_NH) / temperature, ref_logits_NV)

        rows = max(1, self.chunk_elements // self.model.config.get_text_config().vocab_size)
        pieces = [
            checkpoint(piece, *pair, use_reentrant=False) if torch.is_grad_enabled() else piece(*pair)
            for pair in zip(torch.split(ours, rows), torch.split(theirs, rows), strict=True)
        ]
        return _spread(torch.cat(pieces), batch.mask_BT)

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
            **row_borders(batch.lengths_B),
        ).last_hidden_state[0]
        padded_BTH: Tensor = flat.new_zeros(*real_BT.shape, flat.shape[-1]).masked_scatter(real_BT[..., None], flat)
        return padded_BTH

    def _states(self, batch: Batch, hidden_BTH: Tensor | None = None) -> Tensor:
        """What `_logits` turns into the logits of each answer token: hidden states, or the logits where there is no head."""
        chosen_BT = batch.mask_BT[:, 1:]
        if not self._split:
            logits_BTV: Tensor = self.model(input_ids=batch.token_ids_BT, use_cache=False).logits
            return logits_BTV[:, :-1][chosen_BT]
        hidden_BTH = self._hidden(batch) if hidden_BTH is None else hidden_BTH
        return hidden_BTH[:, :-1][chosen_BT]

    def _logits(self, states_N: Tensor) -> Tensor:
        logits_NV: Tensor = _plain(self.model).get_output_embeddings()(states_N) if self._split else states_N
        return logits_NV.float()

    def _per_answer_token(self, batch: Batch, measure: Measure, hidden_BTH: Tensor | None = None) -> list[Tensor]:
        """Spread what `measure(logits_NV, targets_N)` says of each answer token over `[B, T]`."""
        chosen_BT = batch.mask_BT[:, 1:]
        targets_N = batch.token_ids_BT[:, 1:][chosen_BT]
        if self._split:
            hidden_BTH = self._hidden(batch) if hidden_BTH is None else hidden_BTH
            values = self._chunked(hidden_BTH[:, :-1][chosen_BT], targets_N, measure)
        else:
            logits_BTV = self.model(input_ids=batch.token_ids_BT, use_cache=False).logits
            values = measure(logits_BTV[:, :-1][chosen_BT].float(), targets_N)
        return [_spread(value_N, batch.mask_BT) for value_N in values]

    def _chunked(self, hidden_NH: Tensor, targets_N: Tensor, measure: Measure) -> Sequence[Tensor]:
        head = _plain(self.model).get_output_embeddings()
        rows = max(1, self.chunk_elements // head.weight.shape[0])

        def piece(hidden: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            return measure(head(hidden).float(), targets)

        if len(targets_N) <= rows:
            return piece(hidden_NH, targets_N)
        pieces = [
            checkpoint(piece, *pair, use_reentrant=False) if torch.is_grad_enabled() else piece(*pair)
            for pair in zip(torch.split(hidden_NH, rows), torch.split(targets_N, rows), strict=True)
        ]
        return [torch.cat(parts) for parts in zip(*pieces, strict=True)]


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
