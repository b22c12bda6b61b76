"""Generation with a vLLM server: its own process, its own GPUs, or another machine."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation import vllm_support as support
from rlvr.generation.adapters import AdapterSettings, ServedAdapter
from rlvr.generation.engine import Completion, FinishReason, Request, Sampling, answer_limit
from rlvr.generation.loading import end_ids, load_config, load_tokenizer
from rlvr.generation.proof import probe_tokens
from rlvr.generation.server_adapters import ServerAdapters
from rlvr.generation.transfer import Streamed, Transfer, WeightStream, choose_transfer
from rlvr.generation.vllm_connection import REQUESTS, ServerConnection
from rlvr.generation.vllm_process import ServerProcess
from rlvr.generation.vllm_versions import check_version, vllm_version
from rlvr.generation.weight_files import WeightFiles, buckets, write_bucket
from rlvr.generation.weight_gate import WeightGate
from rlvr.generation.weight_packing import Bucket, buffer_bytes, packed
from rlvr.generation.weights import WeightShapes


class VLLMServerEngine:
    """Continues prompts with a vLLM server: `launch` starts one that ends with this process, the constructor uses one that runs.

    The server must have been started with VLLM_SERVER_DEV_MODE=1, `--enable-scale-out`, `--logprobs-mode
    processed_logprobs`, and rlvr's transfer back end (docs/vllm.md has the line). Its routes for weights are open to whoever
    reaches the port, so a server that listens beyond the loopback is refused unless `trusted_network` says that the network
    keeps others out.
    """

    def __init__(
        self,
        url: str,
        path: str | Path,
        tokenizer: Any = None,
        *,
        dtype: torch.dtype | None = None,
        transfer: Transfer = "auto",
        transfer_folder: str | Path | None = None,
        trusted_network: bool = False,
        lora_rank: int = 0,
        timeout_s: float = 600.0,
    ) -> None:
        """Connect to the server at `url` that serves the model `path` in `dtype` (default: as `launch` chooses it).

        New weights go through shared memory to a server on this machine whose learner is a CPU, by broadcast to others, and
        through files if a `transfer_folder` that both see is named; `transfer` says it otherwise. `timeout_s` bounds one
        request, and the transfer of one bucket of weights. With `lora_rank`, `load_adapter` takes adapters of up to that rank,
        as files; the server has to be started for them.
        Raises ConfigError if the address, the server's version or its settings do not fit or the transfer cannot be opened,
        EngineError if it does not answer.
        """
        self._stream: WeightStream | None = None
        self._connection = ServerConnection(url, timeout_s=timeout_s)
        self._post, self._get = self._connection.post, self._connection.get
        if not trusted_network and not self._connection.is_loopback:
            raise ConfigError(
                f"server {url!r} is on another machine, and whoever reaches it can replace its weights. "
                "Set trusted_network=true if its network keeps others out."
            )
        config = load_config(path)
        self.tokenizer = load_tokenizer(path) if tokenizer is None else tokenizer
        self._vocabulary: int = config.get_text_config().vocab_size
        self._end_ids = end_ids(path, self.tokenizer)
        self._shapes = WeightShapes.of_config(config)
        self._folder = str(transfer_folder or "/dev/shm")
        self._gate = WeightGate("the server holds")
        self._salt = secrets.token_hex(8)
        self._adapters = ServerAdapters(self._post, shapes=self._shapes, lora_rank=lora_rank, folder=self._folder)
        way = choose_transfer(
            transfer,
            folder_given=transfer_folder is not None,
            same_machine=self._connection.is_loopback,
            adapters=lora_rank > 0,
        )
        self.dtype = support.serving_dtype(config, dtype)
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="rlvr-vllm")
        try:
            check_version(self._get("/version").get("version"), server=True)
            self.max_model_len: int = int(self._get("/v1/models")["data"][0]["max_model_len"])
            self.weight_version = support.version_number(self._get("/weight_info").get("weight_version"))
            self._stream = self._open_stream(way, timeout_s)
            self._adapters.connect(self.weight_version)
        except BaseException:
            self.close()
            raise

    @classmethod
    def launch(
        cls,
        path: str | Path,
        tokenizer: Any = None,
        *,
        dtype: torch.dtype | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int = 128,
        kv_cache_memory_mb: int | None = None,
        gpu_memory_utilization: float = 0.9,
        tensor_parallel_size: int = 1,
        gpus: Sequence[int] | None = None,
        lora_rank: int = 0,
        transfer: Transfer = "auto",
        transfer_folder: str | Path | None = None,
        timeout_s: float = 600.0,
        start_timeout_s: float = 600.0,
    ) -> Self:
        """Start a server on a free port of the loopback and connect to it.

        It ends when the engine is closed or this process ends, however that happens.

        The settings are those of `VLLMEngine`; `gpus` numbers those it may use (default: all), `timeout_s` bounds one request;
        it must be healthy within `start_timeout_s`, and a large model needs minutes to load. New weights go through shared
        memory on a CPU and to a server on the learner's own GPU, by broadcast to other GPUs, and through files if a
        `transfer_folder` is named; `transfer` says it otherwise. Raises ConfigError, with the server's own last words if it
        was started and did not get far.
        """
        check_version(vllm_version(), server=True)
        config = load_config(path)
        support.check_heads(config, path, tensor_parallel_size)
        support.check_gpus(tensor_parallel_size, gpus)
        way = choose_transfer(
            transfer,
            folder_given=transfer_folder is not None,
            same_machine=True,
            adapters=lora_rank > 0,
            gpus=range(tensor_parallel_size) if gpus is None else gpus,
        )
        on_gpu = torch.cuda.is_available()
        longest = getattr(config.get_text_config(), "max_position_embeddings", None) or 4096
        length = min(max_model_len or longest, longest)
        served = support.serving_dtype(config, dtype)
        # Two, so that answers under way are finished by the adapter they began with while new ones begin with the next.
        adapters = support.adapter_flags(lora_rank, versions=2)
        support.check_gpu_memory(
            config, path, served, gpu_memory_utilization, tensor_parallel_size, max_model_len=length
        )
        flags = {
            "--model": str(path),
            "--dtype": str(served).removeprefix("torch."),
            "--max-model-len": str(length),
            "--max-num-seqs": str(max_num_seqs),
            "--tensor-parallel-size": str(tensor_parallel_size),
            "--logprobs-mode": "processed_logprobs",
            "--scheduling-policy": "priority",
            "--seed": "0",
            "--weight-transfer-config": json.dumps({"backend": support.BACKEND}),
            "--worker-extension-cls": support.WORKER_EXTENSION,
        }
        if on_gpu and kv_cache_memory_mb is None:
            flags["--gpu-memory-utilization"] = str(gpu_memory_utilization)
        else:
            flags["--kv-cache-memory-bytes"] = str(
                kv_cache_memory_mb << 20
                if kv_cache_memory_mb
                else support.kv_cache_bytes(config, length, max_num_seqs, served.itemsize)
            )
        # On a CPU vLLM 0.32 dies when a prompt with a seed is read in several parts (`CPU Generator does not use offset`).
        switches = ["--enable-scale-out", *([] if on_gpu else ["--enforce-eager", "--no-enable-chunked-prefill"])]
        if adapters:
            switches.append("--enable-lora")
            flags |= {"--max-lora-rank": str(adapters["max_lora_rank"]), "--max-loras": str(adapters["max_loras"])}
        server = ServerProcess(
            path,
            [text for pair in flags.items() for text in pair] + switches,
            gpus,
            {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"} if adapters else {},
        )
        try:
            server.wait_until_healthy(start_timeout_s)
            engine = cls(
                server.url,
                path,
                tokenizer,
                dtype=served,
                transfer=way,
                transfer_folder=transfer_folder,
                lora_rank=lora_rank,
                timeout_s=timeout_s,
            )
        except BaseException:
            server.stop()
            raise
        engine._connection.process = server
        return engine

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order; the answers to one request are asked for together.

        May be called while another thread loads weights: what is not under way by then waits until they have arrived.
        Answers that were cut off because an update failed have `finish_reason == "abort"`, and may be empty.
        Raises EngineError if a prompt cannot be answered, if the server fails or has died, or if the last `load_weights`
        failed.
        """
        bodies = []
        for request in requests:
            limit = answer_limit(request, sampling, self._vocabulary, self.max_model_len)
            settings = support.sampling_settings(request, sampling, limit, self._end_ids)
            bodies.append({"token_ids": list(request.prompt_ids), "sampling_params": settings})
        futures = [self._threads.submit(self._answers_to, body) for body in bodies]
        try:
            groups = [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return [
            group * request.n if sampling.temperature == 0 else group
            for request, group in zip(requests, groups, strict=True)
        ]

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int, *, keep_cache: bool = False) -> None:
        """Serve these weights, one for each name of the model in transformers, under this version.

        Requests that are running are held and go on with the new weights. Their key-value cache is computed again, so that
        every token after the change is the new weights' own; with `keep_cache` they go on from the old weights' cache, which
        costs nothing. A request that begins afterwards reads no cache of old weights either way.
        Raises EngineError on an unknown name, a wrong shape, a missing weight or a server that fails; requests that were
        running are then aborted, and the engine refuses to generate until a complete set has been loaded.
        """
        try:
            self.begin_update(version, keep_cache)
            if self.streams:
                for bucket in self.buckets(named_tensors):
                    self.send(bucket)
            else:
                for path in self._files(named_tensors):
                    self._post("/update_weights", update_info={"path": path})
            self.finish_update(version, keep_cache)
        except BaseException:
            self.abandon_update()
            raise

    @property
    def streams(self) -> bool:
        """Whether weights come in buckets that are gone when they have been sent, and not in files."""
        return self._stream is not None

    def begin_update(self, version: int, keep_cache: bool = False) -> None:
        """The first step of `load_weights`: hold what is running. Then `send` all buckets and `finish_update`, or if anything
        fails, this too, `abandon_update`. Raises EngineError.
        """
        self._gate.begin(version)
        if self._stream is not None:
            self._stream.open()
        # vLLM keeps the cache of each salt to itself: the old weights' stays until it is pushed out, and is not found.
        self._salt = secrets.token_hex(8)
        self._post(f"/pause?mode=keep&clear_cache={'false' if keep_cache else 'true'}")
        self._post("/start_weight_update")

    def buckets(self, named_tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[Bucket]:
        """A complete set of weights, packed for `send`, one bucket at a time; each is gone when the next is asked for.

        Raises EngineError at an unknown name or a wrong shape, and at the end if a weight was missing.
        """
        assert self._stream is not None
        weights = self._shapes.once(self._shapes.checked(named_tensors))
        return packed(weights, self.dtype, self._stream.buffer())

    def send(self, bucket: Bucket) -> None:
        """Have the server load it; it may come from another engine's `buckets`. Raises EngineError."""
        assert self._stream is not None
        self._stream.send(bucket)

    def finish_update(self, version: int, keep_cache: bool = False) -> None:
        """Serve the weights that were sent, under this version. Raises EngineError."""
        self._post("/finish_weight_update", weight_version=str(version))
        if not keep_cache:
            # Without reset_running_requests vLLM keeps the old cache of whatever is running, and does not say so.
            self._post("/reset_prefix_cache?reset_running_requests=true")
        self._post("/resume")
        served = self._get("/weight_info").get("weight_version")
        if support.version_number(served) != version:
            raise EngineError(f"the server {self._connection.url} names weight version {served!r} after it was given {version}")
        self._adapters.serve(self._adapters.blank(version))
        self.weight_version = version
        self._gate.end(failed=False)

    def abandon_update(self) -> None:
        """Nothing may be finished with half-loaded weights, and the next update must be able to start. Raises nothing; without
        an update nothing happens.
        """
        if not self._gate.shut:
            return
        with contextlib.suppress(EngineError):  # a dead server is reported by the first failure
            self._post("/pause?mode=abort")
            with contextlib.suppress(EngineError):  # the update ends by failing, or had ended so already
                self._post("/update_weights", update_info={"abandoned": True})
            self._post("/resume")
        self._gate.end(failed=True)

    def load_adapter(self, named_tensors: Iterable[tuple[str, Any]], settings: AdapterSettings, version: int) -> None:
        """Answer requests that begin from now on by the base weights with this adapter, under this version.

        Those under way are finished by the adapter they began with, and nothing waits. Raises ConfigError if the server was
        not started for such adapters, EngineError if it is incomplete or does not fit or if the server fails; what was served
        before is then still served.
        """
        adapter = self._adapters.load(named_tensors, settings, version)
        self.weight_version = version
        self._adapters.serve(adapter)

    def fingerprint(self) -> str:
        """A digest of what the server says about fixed tokens."""
        return support.digest_of(self.forced_logprobs(probe_tokens(self._vocabulary)))

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability at temperature 1, in nats, of each given token after the first."""
        # Before all answers that wait for a place, or the proof of new weights would wait for them.
        body = {"token_ids": list(token_ids), "sampling_params": support.probe_settings(), "priority": -1}
        with self._adapters.used() as adapter:
            places = self._ask_model(body, adapter)["prompt_logprobs"]
        return [place[str(token)]["logprob"] for place, token in zip(places[1:], token_ids[1:], strict=True)]

    def healthy(self, timeout_s: float = 30.0) -> bool:
        """Whether the server answers within `timeout_s` that it and its workers run."""
        return self._connection.healthy(timeout_s)

    def close(self) -> None:
        """Close the connections, and stop the server if `launch` started it."""
        self._gate.end(failed=True)  # or what waits for the end of an update would wait for ever
        self._threads.shutdown(cancel_futures=True)
        goes_on = self._connection.process is None and self.healthy(5.0)
        if self._stream is not None:
            if goes_on:
                with contextlib.suppress(EngineError):  # it ended just now
                    self._stream.leave()
            self._stream.close()
        if not goes_on:
            self._connection.close()  # first, for there is nobody to be told that the adapter goes
        self._adapters.serve(None)
        self._connection.close()
        if self._connection.process is not None:
            self._connection.process.stop()

    def _answers_to(self, body: dict[str, Any]) -> list[Completion]:
        """What the server answers to one request, by weights that arrived completely."""
        ticket = self._gate.enter()
        with self._adapters.used() as adapter:
            reply = self._ask_model({"cache_salt": self._salt, **body}, adapter)
        choices = sorted(reply["choices"], key=lambda choice: int(choice["index"]))
        return self._gate.leave(ticket, [_completion(choice, adapter) for choice in choices])

    def _ask_model(self, body: dict[str, Any], adapter: ServedAdapter | None) -> Any:
        """The base model's reply, or that of the model which vLLM calls by the adapter's name."""
        return self._post("/inference/v1/generate", **body, **({} if adapter is None else {"model": adapter.name}))

    def _open_stream(self, transfer: Literal["files"] | Streamed, timeout_s: float) -> WeightStream | None:
        """None for files, of which the workers need to know nothing beforehand."""
        if transfer == "files":
            self._post("/init_weight_transfer_engine", init_info={})
            return None
        stream = WeightStream(
            transfer,
            self._post,
            host=self._connection.host,
            num_workers=int(self._get("/get_world_size")["world_size"]),
            buffer_bytes=buffer_bytes(self._shapes.sizes, self.dtype),
            timeout_s=timeout_s,
        )
        try:
            stream.open()
        except EngineError as fault:
            if not self.healthy():
                raise
            raise ConfigError(
                f"weights cannot go to the server {self._connection.url} by transfer = {transfer!r}: {fault} "
                "Set transfer = 'files', and a transfer_folder if it is on another machine."
            ) from fault
        return stream

    def _files(self, named_tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[str]:
        """Files with the weights, one at a time. Those that were written for this engine are gone when the next is asked for."""
        if isinstance(named_tensors, WeightFiles):
            for _ in self._shapes.checked(named_tensors):  # all of them before the first is loaded
                pass
            yield from named_tensors.paths
            return
        for bucket in buckets(self._shapes.once(self._shapes.checked(named_tensors))):
            path = write_bucket(bucket, self._folder)
            try:
                yield path
            finally:
                os.unlink(path)


def _completion(choice: dict[str, Any], adapter: ServedAdapter | None) -> Completion:
    spans = [(span["version"], span["start"], span["end"]) for span in choice.get("weight_versions") or ()]
    if adapter is not None:  # vLLM's label is that of the base weights
        spans[:1] = [(str(adapter.version), 0, 0)]
    version, starts = support.version_starts(spans)
    reason: FinishReason = choice["finish_reason"] if choice["finish_reason"] in ("stop", "length") else "abort"
    logprobs = [float(place["logprob"]) for place in choice["logprobs"]["content"]]
    return Completion(list(choice["token_ids"]), logprobs, reason, version, starts)
