"""What an engine has to do to be one of several that serve the same weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from rlvr.generation.adapters import AdapterEngine
from rlvr.generation.weight_packing import Bucket


class Replica(AdapterEngine, Protocol):
    """An engine that can be asked whether it lives, and answers from several threads at once."""

    dtype: torch.dtype

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int, *, keep_cache: bool = False) -> None:
        """As every engine; with `keep_cache` what is running goes on from the key-value cache of the old weights."""

    def healthy(self, timeout_s: float) -> bool:
        """Whether it answers within `timeout_s`."""


@runtime_checkable
class TakesBuckets(Protocol):
    """A replica whose update can be made in steps, so that one stream of weights serves several. All raise EngineError."""

    streams: bool
    """False if weights should come as files after all."""

    def begin_update(self, version: int, keep_cache: bool) -> None:
        """Get ready for the weights of a version, and hold what is running."""

    def buckets(self, named_tensors: Iterable[tuple[str, Any]]) -> Iterator[Bucket]:
        """The checked weights, for the `send` of every replica; each bucket is gone when the next is asked for."""

    def send(self, bucket: Bucket) -> None:
        """Load it."""

    def finish_update(self, version: int, keep_cache: bool) -> None:
        """Serve what was sent."""

    def abandon_update(self) -> None:
        """Forget what was sent; harmless without an update, and raises nothing."""
