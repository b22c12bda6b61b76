"""Generation with vLLM in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from rlvr.errors import EngineError
from rlvr.generation import vllm_support as support
from rlvr.generation.adapters import AdapterFiles, AdapterSettings, check_adapter, checked_adapter
from rlvr.generation.engine import Completion, FinishReason, Request, Sampling, answer_limit
from rlvr.generation.loading import end_ids, load_config, load_tokenizer
from rlvr.generation.proof import probe_tokens
from rlvr.generation.vllm_versions import check_version, vllm_version
from rlvr.generation.weights import WeightShapes


class VLLMEngine:
    """Continues prompts with vLLM, token ids in and out, log-probabilities of the processed distribution.

    **What is reproducible.** Seeds are vLLM's, one for each answer. On a CPU a seeded answer was the same alone and in any
    batch in every test, bit for bit; on a GPU vLLM promises that only in its batch-invariant mode.

    The global random states of torch, random and NumPy and torch's number of threads are left as they were.
    """

    def __init__(
        self,
        path: str | Path,
        tokenizer: Any = None,
        *,
        dtype: torch.dtype | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int = 128,
        kv_cache_memory_mb: int | None = None,
        gpu_memory_utilization: float = 0.45,
        tensor_parallel_size: int = 1,
        lora_rank: int = 0,
    ) -> None:
        """Serve the model in a folder or under a hub name. Starting takes 10 to 60 seconds.

        `dtype` defaults to float32 on a CPU and to the stored half precision, or bfloat16, on a GPU. The key-value cache gets
        `kv_cache_memory_mb` MiB (default: what `max_num_seqs` sequences need, at most a quarter of the free memory) on a
        CPU, and what is left of the share `gpu_memory_utilization` of the memory on a GPU. With `lora_rank`,
        `load_adapter` takes adapters of up to that rank.
        Raises ConfigError, before any time is spent where that is possible, if vLLM is missing or outside the range, or the
        model, the memory, `lora_rank` or `tensor_parallel_size` do not fit.
        """
        check_version(vllm_version())
        adapters = support.adapter_flags(lora_rank, versions=1)
        config = load_config(path)
        support.check_heads(config, path, tensor_parallel_size)
        support.check_gpus(tensor_parallel_size, None)
        self.tokenizer = load_tokenizer(path) if tokenizer is None else tokenizer
        self.weight_version = 0
        text_config = config.get_text_config()
        longest = getattr(text_config, "max_position_embeddings", None) or 4096
        self.max_model_len: int = min(max_model_len or longest, longest)
        self._vocabulary: int = text_config.vocab_size
        self._end_ids = end_ids(path, self.tokenizer)
        self._shapes = WeightShapes.of_config(config)
        self._half_loaded = ""
        self._lora_rank = lora_rank
        self._adapter: Any = None
        """vLLM's LoRARequest for the adapter that is served, or None."""
        self._num_adapters = 0
        self.dtype = support.serving_dtype(config, dtype)
        on_gpu = torch.cuda.is_available()
        support.check_gpu_memory(
            config, path, self.dtype, gpu_memory_utilization, tensor_parallel_size, max_model_len=self.max_model_len
        )
        memory: dict[str, Any]
        if on_gpu and kv_cache_memory_mb is None:
            memory = {"gpu_memory_utilization": gpu_memory_utilization}
        else:
            memory = {
                "kv_cache_memory_bytes": kv_cache_memory_mb << 20
                if kv_cache_memory_mb
                else support.kv_cache_bytes(config, self.max_model_len, max_num_seqs, self.dtype.itemsize)
            }
        support.prepare_environment()
        with support.untouched_process():
            from vllm import LLM
            from vllm.config import WeightTransferConfig

            from rlvr.generation import vllm_worker

            self._handed_over = vllm_worker.HANDED_OVER
            try:
                self._llm: Any = LLM(
                    str(path),
                    dtype=str(self.dtype).removeprefix("torch."),
                    max_model_len=self.max_model_len,
                    max_num_seqs=max_num_seqs,
                    tensor_parallel_size=tensor_parallel_size,
                    enforce_eager=not on_gpu,
                    # On a CPU vLLM 0.32 dies when a prompt with a seed is read in several parts.
                    enable_chunked_prefill=on_gpu,
                    enable_sleep_mode=on_gpu,
                    enable_prefix_caching=True,
                    seed=0,
                    # The default, raw_logprobs, is wrong for every temperature but 1.
                    logprobs_mode="processed_logprobs",
                    disable_log_stats=True,
                    weight_transfer_config=WeightTransferConfig(backend=support.BACKEND),
                    worker_extension_cls=support.WORKER_EXTENSION,
                    **memory,
                    **adapters,
                )
            except Exception as fault:  # a boundary: whatever vLLM raises while it starts, nothing was started
                raise support.start_failure(path, fault) from fault
            self._llm.init_weight_transfer_engine({"init_info": {}})
            self._adaptable: list[str] = self._llm.collective_rpc("adaptable_layers")[0] if lora_rank else []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order.

        Raises EngineError if a prompt is empty, holds a token outside the vocabulary or leaves no room for an answer, if
        vLLM fails, or if the last `load_weights` failed.
        """
        if self._half_loaded:
            raise EngineError(f"the engine holds half-loaded weights ({self._half_loaded}); load a complete set first")
        if not requests:
            return []
        from vllm import SamplingParams

        params = []
        for request in requests:
            limit = answer_limit(request, sampling, self._vocabulary, self.max_model_len)
            settings = support.sampling_settings(request, sampling, limit, self._end_ids)
            params.append(SamplingParams(**settings, flat_logprobs=True))
        outputs = self._run([{"prompt_token_ids": list(request.prompt_ids)} for request in requests], params)
        answers = []
        for request, output in zip(requests, outputs, strict=True):
            group = [_completion(answer, self.weight_version) for answer in output.outputs]
            answers.append(group * request.n if sampling.temperature == 0 else group)
        return answers

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int) -> None:
        """Serve these weights, one for each name of the model in transformers, under this version.

        Tensors are taken by reference and one at a time; a tied head may be given or left out. Cached prefixes are
        dropped. Raises EngineError on an unknown name, a wrong shape or a missing weight; the engine then refuses to
        generate until a complete set has been loaded.
        """
        self._half_loaded = f"version {version} did not arrive completely"
        self._handed_over["sync"] = self._shapes.checked(named_tensors)
        try:
            with support.untouched_process():
                self._llm.start_weight_update()
                self._llm.update_weights({"update_info": {"key": "sync"}})
                self._llm.finish_weight_update()
                # Not before: what is computed between reset and finish would be of old weights.
                dropped = self._llm.reset_prefix_cache()
        finally:
            del self._handed_over["sync"]
        if not dropped:
            raise EngineError("vLLM kept its prefix cache after new weights arrived; requests were still running")
        self._half_loaded = ""
        self._adapter = None
        self.weight_version = version

    def load_adapter(self, named_tensors: Iterable[tuple[str, Any]], settings: AdapterSettings, version: int) -> None:
        """Serve the base weights with this adapter from now on, under this version.

        Raises ConfigError if the engine was not started for such adapters, EngineError if it is incomplete or does not fit;
        what was served before is then still served.
        """
        check_adapter(settings, lora_rank=self._lora_rank, adaptable=self._adaptable)
        tensors = checked_adapter(named_tensors, settings, self._shapes)
        from vllm.lora.request import LoRARequest

        files = AdapterFiles.write(tensors, settings, support.memory_folder())
        self._num_adapters += 1
        adapter = LoRARequest(files.name, self._num_adapters, str(files.path))
        try:
            with support.untouched_process():
                self._llm.llm_engine.add_lora(adapter)  # there is room for one, so the one before it goes
        except Exception as fault:  # a boundary: vLLM raises many kinds
            raise EngineError(f"vLLM refused an adapter: {type(fault).__name__}: {fault}") from fault
        finally:
            files.release()
        self._adapter = adapter
        self.weight_version = version

    def fingerprint(self) -> str:
        """A digest of what the engine says about fixed tokens: vLLM's own checksums do not see packed weights."""
        return support.digest_of(self.forced_logprobs(probe_tokens(self._vocabulary)))

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability at temperature 1, in nats, of each given token after the first."""
        from vllm import SamplingParams

        [output] = self._run([{"prompt_token_ids": list(token_ids)}], SamplingParams(**support.probe_settings()))
        return [place[token].logprob for place, token in zip(output.prompt_logprobs[1:], token_ids[1:], strict=True)]

    def sleep(self) -> None:
        """On a GPU, give the memory of weights and cache back until `wake_up`. On a CPU nothing happens."""
        if torch.cuda.is_available():
            self._llm.sleep(level=1)

    def wake_up(self) -> None:
        """The counterpart of `sleep`."""
        if torch.cuda.is_available():
            self._llm.wake_up()

    def close(self) -> None:
        """Stop vLLM and free its memory."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()

    def _run(self, prompts: list[dict[str, list[int]]], params: Any) -> list[Any]:
        with support.untouched_process():
            try:
                return list(self._llm.generate(prompts, params, use_tqdm=False, lora_request=self._adapter))
            except Exception as fault:  # a boundary: vLLM raises many kinds
                raise EngineError(f"vLLM failed while it generated: {type(fault).__name__}: {fault}") from fault


def _completion(answer: Any, served: int) -> Completion:
    reason: FinishReason = answer.finish_reason if answer.finish_reason in ("stop", "length") else "abort"
    # Not vLLM's label, which it has since 0.32: in this process no weights change while it generates.
    return Completion(list(answer.token_ids), list(answer.logprobs.logprobs), reason, served)
