"""Attention over rows laid end to end: no padding is computed, and no token looks beyond the border of its row.

On a GPU and in half precision it is PyTorch's flash attention for rows of unequal length (`torch.nn.attention.varlen`); elsewhere
rows are attended to one by one. transformers calls it by the name under which it is registered here, and where a call names no
borders, as in sampling, it is transformers' own scaled dot-product attention.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "rlvr_packed"


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **others: Any,
) -> tuple[Tensor, None]:
    """`[1, T, heads, D]` from `[1, heads, T, D]`: causal attention within each of the rows whose borders are given.

    `cu_seq_lens_q` `[rows + 1]` are the borders, `max_length_q` the longest row. Raises NotImplementedError for a kind of
    attention that has more to it, such as capped scores or sinks.
    """
    if cu_seq_lens_q is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        # The window of such a call is in its mask.
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return result
    if extra := [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]:
        raise NotImplementedError(f"packed rows have no attention with {', '.join(extra)}")
    heads, shared = query.shape[1], query.shape[1] != key.shape[1]
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    if kind == "cuda" and dtype in (torch.bfloat16, torch.float16):
        from torch.nn.attention.varlen import varlen_attn

        q_THD, k_THD, v_THD = (states[0].transpose(0, 1).to(dtype) for states in (query, key, value))
        if shared:
            k_THD, v_THD = (t.repeat_interleave(heads // t.shape[1], dim=1) for t in (k_THD, v_THD))
        left = -1 if sliding_window is None else sliding_window - 1
        attended_THD: Any = varlen_attn(
            q_THD, k_THD, v_THD, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q,
            scale=scaling, window_size=(left, 0),
        )  # fmt: skip
        return attended_THD[None], None
    rows = []
    for begin, end in itertools.pairwise(cu_seq_lens_q.tolist()):
        q, k, v = (states[:, :, begin:end] for states in (query, key, value))
        band = None if sliding_window is None or end - begin <= sliding_window else _band(end - begin, sliding_window, q)
        rows.append(
            F.scaled_dot_product_attention(q, k, v, band, scale=scaling, is_causal=band is None, enable_gqa=shared)
        )
    return torch.cat(rows, 2).transpose(1, 2), None


def _band(length: int, window: int, like: Tensor) -> Tensor:
    """`[T, T]`, True where a token looks: itself and the `window` - 1 before it."""
    places_T = torch.arange(length, device=like.device)
    back_TT = places_T[:, None] - places_T[None]
    return (back_TT >= 0) & (back_TT < window)


def row_borders(lengths_B: Tensor) -> dict[str, Any]:
    """What a trunk has to be told beside packed tokens: borders for the attention, and a mask that keeps it from making one."""
    cu_seq_lens = F.pad(lengths_B.cumsum(0), (1, 0)).to(torch.int32)
    return {
        "cu_seq_lens_q": cu_seq_lens,
        "max_length_q": int(lengths_B.max()),
        # transformers takes a mask of four dimensions as it is; without one it would build one of T x T.
        "attention_mask": lengths_B.new_zeros(1, 1, 1, 1),
    }


def use_packed_attention(model: Any) -> bool:
    """Make a causal language model attend this way. False, and nothing is changed, if it then computes something else.

    That is tried on two rows: a family whose attention has more to it, or a build without the kernel, keeps its own.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    before = model.config._attn_implementation
    if before != "sdpa":
        return False  # somebody chose another
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    try:
        padded = _last_states(model, packed=False)
        model.set_attn_implementation(NAME)
        packed = _last_states(model, packed=True)
        gap = float((packed - padded).norm() / padded.norm())
    except Exception:  # a boundary: whatever an unknown family or kernel raises, its own attention works
        gap = torch.inf
    # Half precision differs by about a hundredth.
    if gap < 0.05:
        return True
    model.set_attn_implementation(before)
    return False


@torch.no_grad()
def _last_states(model: Any, *, packed: bool) -> Tensor:
    """The trunk's hidden states of two rows of 5 and 3 tokens, end to end."""
    trunk = model.get_decoder()
    device = model.get_input_embeddings().weight.device
    vocabulary = model.config.get_text_config().vocab_size
    ids_2T = (7 * torch.arange(10, device=device).view(2, 5) + 3) % vocabulary
    if not packed:
        states = trunk(input_ids=ids_2T, use_cache=False).last_hidden_state
        return torch.cat([states[0], states[1, :3]])
    lengths = torch.tensor([5, 3], device=device)
    places = torch.cat([torch.arange(5, device=device), torch.arange(3, device=device)])
    flat = ids_2T.flatten()[:8]
    states = trunk(input_ids=flat[None], position_ids=places[None], use_cache=False, **row_borders(lengths))
    packed_TH: Tensor = states.last_hidden_state[0]
    return packed_TH
