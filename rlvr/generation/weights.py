"""Which weights a model has, and whether a stream of tensors is exactly those."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import EngineError
from rlvr.generation.loading import BUILDING


class WeightShapes:
    """Names and shapes of a model's weights, by transformers' names. A tied weight has several names and is sent once."""

    def __init__(self, model: Any) -> None:
        state = model.state_dict(keep_vars=True)
        self._shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        self._tensor_of = {name: id(tensor) for name, tensor in state.items()}

    @classmethod
    def of_config(cls, config: Any) -> WeightShapes:
        """Those of the causal language model that `config` describes; nothing is allocated."""
        from transformers import AutoModelForCausalLM

        with BUILDING, torch.device("meta"):
            return cls(AutoModelForCausalLM.from_config(config))

    @property
    def num_weights(self) -> int:
        """Numbers in all of them, tied ones counted once."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Numbers in each of them, tied ones once."""
        return list({self._tensor_of[name]: math.prod(shape) for name, shape in self._shapes.items()}.values())

    @property
    def names(self) -> list[str]:
        """All of them, tied ones under each of theirs."""
        return list(self._shapes)

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of the weight of that name; None if there is none."""
        return self._shapes.get(name)

    def checked(self, named_tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The same pairs, one at a time.

        Raises EngineError at an unknown name, at a wrong shape, and at the end if a weight was missing.
        """
        given: set[int] = set()
        for name, tensor in named_tensors:
            if name not in self._shapes:
                raise EngineError(
                    f"weight {name!r} is no weight of this model (such as {next(iter(self._shapes))!r}); "
                    "learner and engine hold different architectures"
                )
            if tuple(tensor.shape) != self._shapes[name]:
                raise EngineError(
                    f"weight {name!r} has shape {tuple(tensor.shape)}; the model needs {self._shapes[name]}"
                )
            yield name, tensor
            given.add(self._tensor_of[name])
        missing = [name for name, tensor_id in self._tensor_of.items() if tensor_id not in given]
        if missing:
            raise EngineError(
                f"{len(missing)} weights were not given, first of them {missing[0]!r}; send the whole model"
            )

    def once(self, named_tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The same pairs, without further names of a tied weight that has come already."""
        given: set[int] = set()
        for name, tensor in named_tensors:
            if self._tensor_of[name] not in given:
                given.add(self._tensor_of[name])
                yield name, tensor
