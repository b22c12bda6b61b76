"""An engine that says what it is told to: for tests, demos and evaluations of plain programs. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.byte_tokenizer import ByteTokenizer
from rlvr.generation.engine import Completion, FinishReason, Request, Sampling
from rlvr.generation.seeds import row_seed

Answers = Sequence[str] | Mapping[str, str] | Callable[[str, int], str]


class ScriptedEngine:
    """Answers from a list, a mapping or a function, as if they had been sampled with certainty (log-probability 0).

    A list is handed out in order, request by request and answer by answer, and starts again at its end. A mapping is
    looked up by the prompt's text. A function is called with the prompt's text and the answer's own 64-bit seed. The
    prompt's text is what the prompt ids decode to, without white space at its ends.

    An answer that is longer than `max_tokens` is cut there (`length`), one that holds a stop text is cut behind it.
    """

    def __init__(self, answers: Answers, tokenizer: Any = None, *, max_model_len: int = 1 << 20) -> None:
        if isinstance(answers, str):
            raise ConfigError(
                f"scripted answers are one text, {answers[:40]!r}; give a list of texts: [{answers[:40]!r}]"
            )
        if not callable(answers) and not answers:
            raise ConfigError("a scripted engine got no answers; give a list, a dict by prompt or a function")
        self.tokenizer = ByteTokenizer() if tokenizer is None else tokenizer
        self.weight_version = 0
        self.max_model_len = max_model_len
        self._answers = answers
        self._handed_out = 0

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order. Raises EngineError where the script has no text to give."""
        return [[self._complete(request, number, sampling) for number in range(request.n)] for request in requests]

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int) -> None:
        """A script has no weights; only the version is taken over."""
        self.weight_version = version

    def fingerprint(self) -> str:
        """A digest of the script; a function counts by its name."""
        script = getattr(self._answers, "__qualname__", None) or repr(self._answers)
        return hashlib.sha256(script.encode("utf-8", "surrogatepass")).hexdigest()

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """0 for each token: a script is certain of whatever it says."""
        return [0.0] * (len(token_ids) - 1)

    def close(self) -> None:
        """Nothing is held."""

    def _complete(self, request: Request, number: int, sampling: Sampling) -> Completion:
        text = self._answer(request, number)
        ends = [text.index(stop) + len(stop) for stop in sampling.stop if stop in text]
        stopped_by_text = bool(ends)
        if stopped_by_text:
            text = text[: min(ends)]
        ids: list[int] = list(self.tokenizer.encode(text, add_special_tokens=False))
        if not stopped_by_text:
            ids.append(self.tokenizer.eos_token_id)
        for place, token_id in enumerate(ids):
            if token_id in sampling.stop_token_ids:
                ids = ids[: place + 1]
                break
        limit = min(sampling.max_tokens, request.max_tokens or sampling.max_tokens)
        limit = min(limit, self.max_model_len - len(request.prompt_ids))
        if limit < 1:
            raise EngineError(
                f"a prompt of {len(request.prompt_ids)} tokens leaves no room for an answer in {self.max_model_len}. "
                "Shorten the prompt or raise max_model_len."
            )
        reason: FinishReason = "length" if len(ids) > limit else "stop"
        ids = ids[:limit]
        return Completion(ids, [0.0] * len(ids), reason, self.weight_version)

    def _answer(self, request: Request, number: int) -> str:
        if isinstance(self._answers, Sequence):
            text: Any = self._answers[self._handed_out % len(self._answers)]
            self._handed_out += 1
        else:
            prompt = self.tokenizer.decode(request.prompt_ids).strip()
            if callable(self._answers):
                text = self._answers(prompt, row_seed(request.seed, number))
            elif prompt in self._answers:
                text = self._answers[prompt]
            else:
                raise EngineError(
                    f"the script has no answer for the prompt {prompt[-200:]!r}; its keys must be whole prompts"
                )
        if not isinstance(text, str):
            raise EngineError(f"the script answered {text!r} ({type(text).__name__}) instead of a text")
        return text


def next_turn(turns: Sequence[str], said: str) -> str | None:
    """The first of an episode's turns that does not stand in `said`, the chat behind the first prompt; None if it left them."""
    for number, turn in enumerate(turns):
        place = said.find(turn)
        if place < 0:
            return turn if number or not said.strip() else None
        said = said[place + len(turn) :]
    return None


def episodes(turns: Mapping[str, Sequence[str]]) -> Callable[[str, int], str]:
    """A script of episodes: to every first prompt the turns that follow it, whatever the environment says between them."""

    def answer(prompt: str, seed: int) -> str:
        first = (
            prompt if prompt in turns else max((each for each in turns if prompt.startswith(each)), key=len, default="")
        )
        said = next_turn(turns.get(first, ()), prompt[len(first) :])
        if said is None:
            raise EngineError(f"the script has no turn for the prompt {prompt[-200:]!r}")
        return said

    return answer
