"""Generation with a transformers model in this process: exact, on any device, and fast for small models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.decoding import Row, StopTexts, decode
from rlvr.generation.engine import Completion, Request, Sampling, answer_limit
from rlvr.generation.loading import load_model, load_tokenizer, merged_end_ids
from rlvr.generation.proof import forced_logprobs
from rlvr.generation.seeds import row_seed
from rlvr.generation.weights import WeightShapes


class TransformersEngine:
    """Continues prompts with a causal language model of transformers.

    **What is reproducible.** Every draw is a function of (request seed, answer number, position) and of the logits. The
    noise is the same alone or in any batch. The logits come from floating-point kernels that may differ in their last
    bits with the shape of the batch; a token changes only where a draw falls within that rounding of a boundary between
    two tokens (about one in 10^6 draws in float32, one in 10^2 to 10^3 in bfloat16). The same calls on the same machine
    with the same number of threads give the same bits.

    No global random state is read or moved, and a module that was training is training again afterwards.
    """

    def __init__(
        self,
        model_or_path: Any,
        tokenizer: Any = None,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        max_batch_tokens: int = 1 << 17,
    ) -> None:
        """Load a folder or a hub name, or serve a module that is already loaded (with its tokenizer).

        `device` defaults to the GPU if there is one, `dtype` to float32 on a CPU and to the stored one elsewhere.
        At most `max_batch_tokens` positions (rows times longest prompt plus answer) are decoded at once.
        Raises ConfigError if the path holds no model or no tokenizer, or a model that is no causal language model.
        """
        if max_batch_tokens < 1:
            raise ConfigError(f"max_batch_tokens is {max_batch_tokens}; it must be at least 1")
        if isinstance(model_or_path, str | Path):
            place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.tokenizer = load_tokenizer(model_or_path) if tokenizer is None else tokenizer
            self._model = load_model(model_or_path, place, dtype)
        else:
            if tokenizer is None:
                raise ConfigError(
                    "an engine for a loaded model needs its tokenizer too: TransformersEngine(model, tokenizer)"
                )
            self.tokenizer = tokenizer
            self._model = model_or_path
            if device is not None or dtype is not None:
                self._model = self._model.to(device=device, dtype=dtype)
        text_config = self._model.config.get_text_config()
        self.max_model_len: int = getattr(text_config, "max_position_embeddings", None) or 1 << 20
        self.weight_version = 0
        self._shared = False
        self._vocabulary: int = self._model.get_input_embeddings().weight.shape[0]
        end = self.tokenizer.eos_token_id
        if end is None or end >= self._vocabulary:
            raise ConfigError(
                f"the tokenizer's end-of-sequence token has id {end}, the model knows {self._vocabulary} tokens: no answer could "
                "end. Tokenizer and model do not belong together, or the tokenizer was saved without its eos_token."
            )
        self._max_batch_tokens = max_batch_tokens
        configured = getattr(self._model.generation_config, "eos_token_id", None)
        self._end_ids = merged_end_ids(configured, self.tokenizer)
        self._stop_texts: dict[tuple[str, ...], StopTexts] = {}
        self._half_loaded = ""

    @classmethod
    def shared(cls, model: Any, tokenizer: Any, *, max_batch_tokens: int = 1 << 17) -> Self:
        """An engine that samples from the learner's own module: no copy, and every update is served at once.

        `load_weights` then only takes over the version; the tensors it is given are not read.
        """
        engine = cls(model, tokenizer, max_batch_tokens=max_batch_tokens)
        engine._shared = True
        return engine

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order.

        Raises EngineError if a prompt is empty, holds a token outside the vocabulary or leaves no room for an answer,
        if memory runs out, or if the last `load_weights` failed.
        """
        if self._half_loaded:
            raise EngineError(f"the engine holds half-loaded weights ({self._half_loaded}); load a complete set first")
        limits = [answer_limit(request, sampling, self._vocabulary, self.max_model_len) for request in requests]
        jobs = [(index, answer, limits[index]) for index, request in enumerate(requests) for answer in range(request.n)]
        # Long prompts first: rows of one batch then need little padding.
        jobs.sort(key=lambda job: -len(requests[job[0]].prompt_ids))
        answers: list[list[Completion]] = [[] for _ in requests]
        with torch.no_grad(), _evaluating(self._model):
            for batch in self._batches(jobs, requests):
                try:
                    completions = self._decode(batch, requests, sampling)
                except torch.OutOfMemoryError as fault:
                    raise EngineError(
                        f"out of memory while decoding {len(batch)} rows at once; lower max_batch_tokens "
                        f"(now {self._max_batch_tokens}): {fault}"
                    ) from fault
                for (index, _, _), completion in zip(batch, completions, strict=True):
                    answers[index].append(completion)
        return answers

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int) -> None:
        """Copy these weights, one for each name of the model's state, and serve them under this version.

        A tied head may be given or left out. Tensors are taken one at a time, so an iterator may gather them as it
        goes. Raises EngineError on an unknown name, a wrong shape or a missing weight; the engine then refuses to
        generate until a complete set has been loaded. An engine made by `shared` only takes over the version.
        """
        if self._shared:
            self.weight_version = version
            return
        state = self._model.state_dict(keep_vars=True)
        written: set[int] = set()
        self._half_loaded = f"version {version} did not arrive completely"
        with torch.no_grad():
            for name, tensor in WeightShapes(self._model).checked(named_tensors):
                target = state[name]
                if id(target) in written and not torch.equal(target, tensor.to(target)):
                    raise EngineError(
                        f"weight {name!r} is tied to another one but was given another value; untie or fix them"
                    )
                target.copy_(tensor)
                written.add(id(target))
        self._half_loaded = ""
        self.weight_version = version

    def fingerprint(self) -> str:
        """The digest of the module that is served, by `weights_fingerprint`."""
        return weights_fingerprint(self._model.named_parameters())

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability at temperature 1, in nats, of each given token after the first."""
        with torch.no_grad(), _evaluating(self._model):
            return forced_logprobs(self._model, token_ids)

    def close(self) -> None:
        """Let go of the model."""
        self._model = None
        self._stop_texts.clear()

    def _batches(
        self, jobs: list[tuple[int, int, int]], requests: Sequence[Request]
    ) -> Iterator[list[tuple[int, int, int]]]:
        batch: list[tuple[int, int, int]] = []
        prompt = longest = 0
        for job in jobs:
            prompt = max(prompt, len(requests[job[0]].prompt_ids))
            longest = max(longest, job[2])
            if batch and (len(batch) + 1) * (prompt + longest) > self._max_batch_tokens:
                yield batch
                batch, prompt, longest = [], len(requests[job[0]].prompt_ids), job[2]
            batch.append(job)
        if batch:
            yield batch

    def _decode(
        self, batch: list[tuple[int, int, int]], requests: Sequence[Request], sampling: Sampling
    ) -> list[Completion]:
        place_of_prompt: dict[int, int] = {}
        rows = [
            Row(place_of_prompt.setdefault(index, len(place_of_prompt)), row_seed(requests[index].seed, answer), limit)
            for index, answer, limit in batch
        ]
        sampled = decode(
            self._model,
            [requests[index].prompt_ids for index in place_of_prompt],
            rows,
            sampling,
            stop_ids=[*self._end_ids, *sampling.stop_token_ids],
            stop_texts=self._texts(sampling.stop),
            device=self._model.device,
        )
        version = self.weight_version
        return [
            Completion(tokens, logprobs, "stop" if stopped else "length", version)
            for tokens, logprobs, stopped in zip(sampled.tokens, sampled.logprobs, sampled.stopped, strict=True)
        ]

    def _texts(self, stop: tuple[str, ...]) -> StopTexts | None:
        if not stop:
            return None
        if "" in stop:
            raise EngineError("a stop text is empty; it would end every answer at once. Leave it out.")
        if stop not in self._stop_texts:
            self._stop_texts[stop] = StopTexts(self.tokenizer, stop, self._vocabulary, self._model.device)
        return self._stop_texts[stop]


def weights_fingerprint(named_tensors: Iterable[tuple[str, Tensor]]) -> str:
    """A digest over name, dtype, shape and bytes of every weight; the order in which they come does not matter.

    Tied weights are given once, as `named_parameters` does.
    """
    digests = []
    for name, tensor in named_tensors:
        digest = hashlib.blake2b(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=16)
        # Seen as bytes, because NumPy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        digests.append(digest.digest())
    return hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
