"""Generation with a vLLM server: its own process, its own GPUs, or another machine."""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation import vllm_support as support
from rlvr.generation.adapters import AdapterSettings, ServedAdapter
from rlvr.generation.engine import Completion, FinishReason, Request, Sampling, answer_limit
from rlvr.generation.loading import end_ids, load_config, load_tokenizer
from rlvr.generation.proof import probe_tokens
from rlvr.generation.server_adapters import ServerAdapters
from rlvr.generation.vllm_process import ServerProcess
from rlvr.generation.vllm_versions import check_version, vllm_version
from rlvr.generation.weight_files import WeightFiles, buckets, write_bucket
from rlvr.generation.weight_gate import WeightGate
from rlvr.generation.weights import WeightShapes

_CONNECTIONS = 64


class VLLMServerEngine:
    """Continues prompts with a vLLM server: `launch` starts one that ends with this process, the constructor uses one that runs.

    The server must have been started with VLLM_SERVER_DEV_MODE=1, `--enable-scale-out`, `--logprobs-mode
    processed_logprobs`, and rlvr's transfer back end (docs/vllm.md has the line). Its routes for weights are open to whoever
    reaches the port, so a server that listens beyond the loopback is refused unless `trusted_network` says that the network
    keeps others out; weights then need a `transfer_folder` that both machines see.
    """

    def __init__(
        self,
        url: str,
        path: str | Path,
        tokenizer: Any = None,
        *,
        dtype: torch.dtype | None = None,
        transfer_folder: str | Path = "/dev/shm",
        trusted_network: bool = False,
        lora_rank: int = 0,
        timeout_s: float = 600.0,
    ) -> None:
        """Connect to the server at `url` that serves the model `path` in `dtype` (default: as `launch` chooses it).

        With `lora_rank`, `load_adapter` takes adapters of up to that rank; the server has to be started for them.
        Raises ConfigError if the address, the server's version or its settings do not fit, EngineError if it does not answer.
        """
        import httpx

        self._server: ServerProcess | None = None
        self._url = url.rstrip("/")
        if not trusted_network and not _is_loopback(self._url):
            raise ConfigError(
                f"server {self._url!r} is on another machine, and whoever reaches it can replace its weights. "
                "Set trusted_network=true if its network keeps others out."
            )
        config = load_config(path)
        self.tokenizer = load_tokenizer(path) if tokenizer is None else tokenizer
        self._vocabulary: int = config.get_text_config().vocab_size
        self._end_ids = end_ids(path, self.tokenizer)
        self._shapes = WeightShapes.of_config(config)
        self._folder = str(transfer_folder)
        self._gate = WeightGate("the server holds")
        self._salt = secrets.token_hex(8)
        self._adapters = ServerAdapters(self._post, shapes=self._shapes, lora_rank=lora_rank, folder=transfer_folder)
        self._lost_adapter = False
        self.dtype = support.serving_dtype(config, dtype)
        # Some more than there are threads, so that a question about its health need not wait for an answer to end.
        limits = httpx.Limits(max_connections=_CONNECTIONS + 8, max_keepalive_connections=_CONNECTIONS)
        self._client = httpx.Client(base_url=self._url, timeout=httpx.Timeout(timeout_s, connect=5.0), limits=limits)
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="rlvr-vllm")
        try:
            check_version(self._get("/version").get("version"), server=True)
            self.max_model_len: int = int(self._get("/v1/models")["data"][0]["max_model_len"])
            self.weight_version = support.version_number(self._get("/weight_info").get("weight_version"))
            self._post("/init_weight_transfer_engine", init_info={})
            self._adapters.connect()
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
        timeout_s: float = 600.0,
        start_timeout_s: float = 600.0,
    ) -> Self:
        """Start a server on a free port of the loopback and connect to it.

        It ends when the engine is closed or this process ends, however that happens.

        The settings are those of `VLLMEngine`; `gpus` numbers those it may use (default: all), `timeout_s` bounds one request;
        it must be healthy within `start_timeout_s`, and a large model needs minutes to load. Raises ConfigError, with the
        server's own last words if it was started and did not get far.
        """
        check_version(vllm_version(), server=True)
        config = load_config(path)
        support.check_heads(config, path, tensor_parallel_size)
        support.check_gpus(tensor_parallel_size, gpus)
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
            engine = cls(server.url, path, tokenizer, dtype=served, lora_rank=lora_rank, timeout_s=timeout_s)
        except BaseException:
            server.stop()
            raise
        engine._server = server
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
        with self._gate.update(version):
            # vLLM keeps the cache of each salt to itself: the old weights' stays until it is pushed out, and is not found.
            self._salt = secrets.token_hex(8)
            self._post(f"/pause?mode=keep&clear_cache={'false' if keep_cache else 'true'}")
            try:
                self._post("/start_weight_update")
                for path in self._files(named_tensors):
                    self._post("/update_weights", update_info={"path": path})
                self._post("/finish_weight_update", weight_version=str(version))
                if not keep_cache:
                    # Without reset_running_requests vLLM keeps the old cache of whatever is running, and does not say so.
                    self._post("/reset_prefix_cache?reset_running_requests=true")
            except BaseException:
                self._abandon_update()
                raise
            finally:
                self._post("/resume")
            served = self._get("/weight_info").get("weight_version")
            if support.version_number(served) != version:
                raise EngineError(
                    f"the server {self._url} names weight version {served!r} after it was given {version}"
                )
            self._adapters.serve(None)
            self.weight_version = version

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
        import httpx

        if self._lost_adapter or (self._server is not None and not self._server.running):
            return False
        try:
            return bool(self._client.get("/health", timeout=timeout_s).status_code == 200)
        except (httpx.HTTPError, RuntimeError):  # a client that was closed raises RuntimeError
            return False

    def close(self) -> None:
        """Close the connections, and stop the server if `launch` started it."""
        self._threads.shutdown(cancel_futures=True)
        if self._server is not None or not self.healthy(5.0):
            self._client.close()  # first, for there is nobody to be told that the adapter goes
        self._adapters.serve(None)
        self._client.close()
        if self._server is not None:
            self._server.stop()

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

    def _abandon_update(self) -> None:
        """Nothing may be finished with half-loaded weights, and the next update must be able to start."""
        try:
            self._post("/pause?mode=abort")
            self._post("/update_weights", update_info={"abandoned": True})
        except EngineError:
            pass  # the update ends by failing, or had ended so already; a dead server is reported by the first failure

    def _files(self, named_tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[str]:
        """Files with the weights, one at a time. Those that were written for this engine are gone when the next is asked for."""
        if isinstance(named_tensors, WeightFiles):
            for _ in self._shapes.checked(named_tensors):  # all of them before the first is loaded
                pass
            yield from named_tensors.paths
            return
        for bucket in buckets(self._shapes.checked(named_tensors)):
            path = write_bucket(bucket, self._folder)
            try:
                yield path
            finally:
                os.unlink(path)

    def _get(self, path: str) -> Any:
        return self._ask("GET", path)

    def _post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        import httpx

        # The server closes a connection on which it failed, and may do so only after the next request was sent on it.
        closed = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
        try:
            try:
                reply = self._client.request(method, path, json=body or None)
            except closed:
                reply = self._client.request(method, path, json=body or None)
        except (httpx.TransportError, RuntimeError) as fault:
            if not isinstance(fault, httpx.TransportError) and not self._client.is_closed:
                raise
            last = f" Its last words: {self._server.last_words()}" if self._server is not None else ""
            raise EngineError(
                f"the vLLM server {self._url} does not answer ({type(fault).__name__} at {path}).{last} "
                "Check that it runs; nothing of this call was kept."
            ) from fault
        if reply.status_code == 404 and body is not None and "model" in body:
            self._lost_adapter = True
            raise EngineError(
                f"the vLLM server {self._url} has lost the adapter it was given: it was restarted. Nothing of this call was kept."
            )
        if reply.status_code == 404 and path != "/version":
            adapters = " and, for adapters, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" if "lora" in path else ""
            raise ConfigError(
                f"the vLLM server {self._url} has no route {path}. Start it with VLLM_SERVER_DEV_MODE=1, --enable-scale-out"
                f"{adapters}."
            )
        if reply.status_code >= 300:
            raise EngineError(
                f"the vLLM server {self._url} answered {path} with {reply.status_code}: {reply.text[:400]}"
            )
        return reply.json() if "json" in reply.headers.get("content-type", "") else {}


def _completion(choice: dict[str, Any], adapter: ServedAdapter | None) -> Completion:
    spans = [(span["version"], span["start"], span["end"]) for span in choice.get("weight_versions") or ()]
    if adapter is not None:  # vLLM's label is that of the base weights
        spans[:1] = [(str(adapter.version), 0, 0)]
    version, starts = support.version_starts(spans)
    reason: FinishReason = choice["finish_reason"] if choice["finish_reason"] in ("stop", "length") else "abort"
    logprobs = [float(place["logprob"]) for place in choice["logprobs"]["content"]]
    return Completion(list(choice["token_ids"]), logprobs, reason, version, starts)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
