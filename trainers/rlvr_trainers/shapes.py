"""Checks that open every public function of tensors: a wrong shape is named where it enters, not where it broadcasts."""

from __future__ import annotations

from difflib import get_close_matches

import torch
from torch import Tensor

from rlvr.errors import ConfigError


def require_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless `tensor` has exactly this shape."""
    if tuple(tensor.shape) != shape:
        raise ConfigError(
            f"{name} has shape {tuple(tensor.shape)} where {shape} is needed; it would broadcast to another meaning."
        )


def require_rank(name: str, tensor: Tensor, rank: int) -> None:
    """Raise ConfigError unless `tensor` has this many axes."""
    if tensor.dim() != rank:
        raise ConfigError(f"{name} has shape {tuple(tensor.shape)}; it must have {rank} axes.")


def as_mask(name: str, mask_BT: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The mask as booleans: anything that is not zero is True."""
    require_shape(name, mask_BT, shape)
    return mask_BT if mask_BT.dtype == torch.bool else mask_BT != 0


def keep(mask_BT: Tensor, tensor_BT: Tensor) -> Tensor:
    """The tensor with zeros where the mask is False, in value and in gradient (`mask * -inf` would be nan)."""
    return torch.where(mask_BT, tensor_BT, torch.zeros((), dtype=tensor_BT.dtype, device=tensor_BT.device))


def per_token(name: str, tensor: Tensor, mask_BT: Tensor) -> Tensor:
    """A value for each row (B) or token (BT), as BT, zero outside the mask."""
    if tensor.dim() == 1:
        require_shape(name, tensor, (mask_BT.shape[0],))
        tensor = tensor[:, None].expand(mask_BT.shape)
    else:
        require_shape(name, tensor, tuple(mask_BT.shape))
    return keep(mask_BT, tensor)


def unknown_name(what: str, name: object, known: tuple[str, ...]) -> ConfigError:
    """The error for a name that does not exist, with the nearest that does."""
    close = get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return ConfigError(f"{what} {name!r} is not known.{hint} Known: {', '.join(known)}.")
