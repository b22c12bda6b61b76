"""Generation by an OpenAI-compatible endpoint, for evaluation: messages in, text out.

Endpoints seldom take or give tokens, so an episode's "tokens" are the bytes of its chat (`transcript.py`) and
log-probabilities are NaN: nothing sampled here can be trained on. An endpoint that does speak tokens (vLLM's server) is
used with the model's own tokenizer, and then gives exact ids and log-probabilities.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.engine import Completion, FinishReason, Request, Sampling
from rlvr.generation.seeds import row_seed
from rlvr.generation.transcript import TranscriptTokenizer

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT_S = 60.0


class OpenAIEngine:
    """Asks `base_url` (ending in `/v1`, say) for chat completions of `model`.

    With a `tokenizer` (that of the model) it asks for completions of token ids instead and needs an endpoint that returns
    `token_ids`. The key comes from `api_key` or the variable OPENAI_API_KEY and is never written anywhere. Answers that are
    refused for now (rate limit, overload, lost connection) are asked for again up to `max_retries` times, with growing pauses.
    Seeds are sent along; whether an endpoint honours them is its own affair.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        tokenizer: Any = None,
        *,
        api_key: str | None = None,
        max_concurrency: int = 16,
        timeout_s: float = 600.0,
        max_retries: int = 6,
        max_model_len: int = 1 << 20,
    ) -> None:
        try:
            import httpx
        except ImportError as fault:
            raise ConfigError("an endpoint needs the package httpx: pip install 'rlvr[openai]'") from fault
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"endpoint {base_url!r} is no address; give something like 'http://127.0.0.1:8000/v1'")
        self._url = base_url.rstrip("/")
        self._model = model
        self._speaks_tokens = tokenizer is not None
        self.tokenizer = TranscriptTokenizer() if tokenizer is None else tokenizer
        self.weight_version = 0
        self.max_model_len = max_model_len
        self._max_retries = max_retries
        self._max_concurrency = max_concurrency
        key = api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(timeout_s, connect=10.0))
        self._limit_name = "max_tokens"
        self._give_up = threading.Event()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order, each asked for by itself.

        Raises EngineError if the endpoint refuses, or keeps failing after all retries; the message holds its answer.
        """
        jobs = [(request, answer) for request in requests for answer in range(request.n)]
        self._give_up.clear()
        with ThreadPoolExecutor(self._max_concurrency) as threads:
            futures = [threads.submit(self._complete, request, answer, sampling) for request, answer in jobs]
            try:
                completions = iter([future.result() for future in futures])
            except BaseException:
                self._give_up.set()  # those that are waiting to try again need not
                threads.shutdown(cancel_futures=True)
                raise
        return [[next(completions) for _ in range(request.n)] for request in requests]

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int) -> None:
        """Not possible: raises EngineError."""
        raise EngineError(
            f"the endpoint {self._url} serves weights of its own and cannot be trained. "
            "Use engine 'transformers' or 'vllm' for training."
        )

    def fingerprint(self) -> str:
        """A digest of the address and the model's name: what weights stand behind it cannot be seen from here."""
        return hashlib.sha256(f"{self._url} {self._model}".encode()).hexdigest()

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Not possible: raises EngineError."""
        raise EngineError(f"the endpoint {self._url} does not score given tokens. Use engine 'transformers' or 'vllm'.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _complete(self, request: Request, answer: int, sampling: Sampling) -> Completion:
        limit = min(sampling.max_tokens, request.max_tokens or sampling.max_tokens)
        body: dict[str, Any] = {
            "model": self._model,
            "temperature": sampling.temperature,
            # Endpoints take seeds of 32 or 64 bits; 31 fit all of them.
            "seed": row_seed(request.seed, answer) >> 33,
            **({"top_p": sampling.top_p} if sampling.top_p != 1 else {}),
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            **({"min_p": sampling.min_p} if sampling.min_p else {}),
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
        }
        if self._speaks_tokens:
            stops = {"stop_token_ids": list(sampling.stop_token_ids)} if sampling.stop_token_ids else {}
            body |= {"prompt": list(request.prompt_ids), "max_tokens": limit, "logprobs": 0, "return_token_ids": True}
            return self._with_tokens(self._post("/completions", body | stops | {"include_stop_str_in_output": True}))
        messages, tools = self.tokenizer.chat_of(request.prompt_ids)
        body |= {"messages": messages, self._limit_name: limit, **({"tools": tools} if tools else {})}
        return self._from_message(self._post("/chat/completions", body))

    def _with_tokens(self, reply: Any) -> Completion:
        choice = _first_choice(reply)
        ids = choice.get("token_ids")
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs")
        if not ids or not logprobs or len(ids) != len(logprobs):
            raise EngineError(
                f"the endpoint {self._url} returned no token ids with log-probabilities. "
                "Leave the tokenizer out to use it by text."
            )
        return Completion(list(ids), [float(value) for value in logprobs], _finish(choice), 0)

    def _from_message(self, reply: Any) -> Completion:
        choice = _first_choice(reply)
        ids = self.tokenizer.spoken(_text_of(choice.get("message") or {}))
        reason = _finish(choice)
        if reason == "stop" or not ids:
            ids = [*ids, self.tokenizer.eos_token_id]
        return Completion(ids, [math.nan] * len(ids), reason, 0)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The endpoint's JSON answer, after as many tries as it takes."""
        import httpx

        problem = ""
        for attempt in range(self._max_retries + 1):
            pause_s = min(0.5 * 2**attempt, _LONGEST_WAIT_S) * random.SystemRandom().uniform(0.5, 1.0)
            try:
                reply = self._client.post(self._url + path, json=body)
            except httpx.TransportError as fault:
                problem = f"{type(fault).__name__}: {fault}"
            else:
                if reply.status_code == 200:
                    try:
                        return reply.json()
                    except ValueError:
                        problem = f"an answer that is no JSON: {reply.text[:200]!r}"
                elif reply.status_code in _RETRIED:
                    problem = f"status {reply.status_code}: {reply.text[:300]}"
                    asked = reply.headers.get("retry-after", "")
                    if asked.replace(".", "", 1).isdigit():
                        pause_s = min(max(pause_s, float(asked)), _LONGEST_WAIT_S)
                elif reply.status_code == 400 and "max_completion_tokens" in reply.text and "max_tokens" in body:
                    # OpenAI's reasoning models know the limit under another name.
                    self._limit_name = "max_completion_tokens"
                    body = {**body, self._limit_name: body["max_tokens"]}
                    del body["max_tokens"]
                    continue
                else:
                    raise EngineError(self._refusal(reply.status_code, reply.text))
            if attempt == self._max_retries or self._give_up.wait(pause_s):
                break
        raise EngineError(
            f"the endpoint {self._url} did not answer for model {self._model!r} after {self._max_retries + 1} tries; "
            f"the last one: {problem}. Check that it runs and is reachable, lower max_concurrency, or raise max_retries."
        )

    def _refusal(self, status: int, text: str) -> str:
        remedy = {
            401: "Set OPENAI_API_KEY to a key it accepts.",
            403: "The key may not use this model.",
            404: "Check the address (it usually ends in /v1) and the model's name.",
        }.get(status, "Change what its answer names.")
        what = f"the endpoint {self._url} refused a request for model {self._model!r} with status {status}"
        return f"{what}: {text[:300]}. {remedy}"


def _first_choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EngineError(f"the endpoint's answer has no choices: {json.dumps(reply)[:300]}")
    return choices[0]


def _finish(choice: dict[str, Any]) -> FinishReason:
    return "length" if choice.get("finish_reason") == "length" else "stop"


def _text_of(message: dict[str, Any]) -> str:
    """What the model said as one text: reasoning and calls that the endpoint has taken out of it are put back."""
    text = str(message.get("content") or "")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        text = f"<think>\n{reasoning}\n</think>\n\n{text}"
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError:
                pass  # stays the text it is; the verifier will say that it is no object
        written = json.dumps({"name": function.get("name"), "arguments": arguments}, ensure_ascii=False)
        text += f"\n<tool_call>\n{written}\n</tool_call>"
    return text
