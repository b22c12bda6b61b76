"""From a gold and a response to a Score."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from rlvr.score import Score
from rlvr.verifiers.math.answers import Parsed, parse
from rlvr.verifiers.math.compare import Comparer
from rlvr.verifiers.math.extraction import Extraction, extract, last_box
from rlvr.verifiers.math.lexer import UnreadableError
from rlvr.verifiers.math.policy import DEFAULT, Policy
from rlvr.verifiers.math.tree import Node
from rlvr.verifiers.math.workers import ProofTimeoutError, pool

_QUICK = re.compile(r"(-?)(\d{1,18}|\d{1,3}(?:,\d{3}){1,6})(?:\.(\d{1,18}))?", re.ASCII)
_CACHED_CHARACTERS = 500
_MAX_PROOFS = 12


class Verdict(NamedTuple):
    """`status` is one of correct, wrong, timeout, error; `stage` names the rule that decided."""

    status: str
    stage: str


def verify(gold: str, response: str, *, policy: Policy = DEFAULT) -> Score:
    """1.0 if the response's final answer equals the gold, else 0.0. Never raises for any text.

    `gold`: an answer, plain or LaTeX, between dollars, in a box, or the end of a worked solution (`#### 42`).
    `response`: what the model wrote, or an answer alone. `reason` is `correct`, `wrong`, `no_answer` (nothing was answered),
    `gold_unparsable` (mask the sample: nothing could be right), `timeout` (a symbolic confirmation ran out of time) or `error`
    (the verifier itself failed; then `error` is set and this is no verdict). `detail` holds `extracted`, `span` (characters of
    the response) and `stage`.
    """
    return _score(_read_gold_or_error(gold), response, policy)


def verify_batch(gold: str | Sequence[str], responses: Sequence[str], *, policy: Policy = DEFAULT) -> list[Score]:
    """One Score a response, in order. One gold for all of them, or a gold for each; each distinct gold is read once.

    Raises ValueError if there are several golds and not as many as responses.
    """
    golds = [gold] * len(responses) if isinstance(gold, str) else list(gold)
    if len(golds) != len(responses):
        raise ValueError(f"{len(golds)} golds for {len(responses)} responses; give one gold for all or one for each")
    references = {text: _read_gold_or_error(text) for text in set(golds)}
    return [_score(references[text], response, policy) for text, response in zip(golds, responses, strict=True)]


async def verify_async(gold: str, response: str, *, policy: Policy = DEFAULT) -> Score:
    """`verify` off the event loop, which goes on while sympy is asked."""
    return await asyncio.to_thread(verify, gold, response, policy=policy)


def equivalent(gold: str, answer: str, *, policy: Policy = DEFAULT) -> bool:
    """Whether two answers, given without any response around them, are the same. False if either cannot be read."""
    first, second = _read(gold), _read(answer)
    if first is None or second is None:
        return _same_text(gold, answer)
    return _compare(first, second, policy).status == "correct"


Reference = tuple[str, Parsed | None]


def _read_gold_or_error(gold: str) -> Reference | Exception | None:
    try:
        return read_gold(gold)
    except Exception as error:  # the boundary, as in _score
        return error


def _score(reference: Reference | Exception | None, response: str, policy: Policy) -> Score:
    if reference is None:
        return Score(0.0, reason="gold_unparsable", detail={"extracted": None, "span": None, "stage": "gold"})
    try:
        if isinstance(reference, Exception):
            raise reference
        found = extract(response, policy)
        if found is None or not found.text.strip():
            return Score(0.0, reason="no_answer", detail={"extracted": None, "span": None, "stage": "extraction"})
        verdict = _judge(reference, found, policy)
    except Exception as error:  # the boundary: a failure of ours is reported as one, and stops no run
        return Score(
            0.0,
            reason="error",
            error=f"the math verifier failed: {type(error).__name__}: {str(error)[:200]}",
            detail={"stage": "error"},
        )
    detail = {"extracted": found.text[:2_000], "span": list(found.span), "stage": verdict.stage, "rule": found.rule}
    return Score(
        1.0 if verdict.status == "correct" else 0.0,
        reason=verdict.status,
        timed_out=verdict.status == "timeout",
        detail=detail,
    )


def _judge(reference: Reference, found: Extraction, policy: Policy) -> Verdict:
    text, gold = reference
    if gold is not None and text.isdigit() and text.isascii() and text[0] != "0":
        said = found.text
        if said == text:
            return Verdict("correct", "exact")
        if said.isdigit() and said.isascii() and said[0] != "0":
            return Verdict("wrong", "exact")
    answer = _read(found.text)
    if gold is None or answer is None:
        return Verdict("correct" if _same_text(text, found.text) else "wrong", "text")
    return _compare(gold, answer, policy)


def _compare(gold: Parsed, answer: Parsed, policy: Policy) -> Verdict:
    prover = _Prover(policy)
    comparer = Comparer(policy, prover.same)
    if comparer.answers(gold, answer):
        return Verdict("correct", comparer.stage)
    unread = "text" in (gold.node.kind, answer.node.kind) and gold.source and answer.source
    if policy.math_verify and unread and prover.math_verify(gold.source, answer.source):
        return Verdict("correct", "math-verify")
    return Verdict("timeout" if prover.timed_out else "wrong", comparer.stage)


class _Prover:
    """Asks a worker, at most a few times an answer, and remembers whether time ran out."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.timed_out = False
        self.asked = 0

    def same(self, a: Node, b: Node) -> bool | None:
        self.asked += 1
        if self.timed_out or self.asked > _MAX_PROOFS:
            return None
        try:
            return pool().same(a, b, self.policy.deadline_s)
        except ProofTimeoutError:
            self.timed_out = True
            return None

    def math_verify(self, gold: str, answer: str) -> bool | None:
        try:
            return pool().math_verify(gold, answer, self.policy.deadline_s)
        except ProofTimeoutError:
            self.timed_out = True
            return None


def _same_text(a: str, b: str) -> bool:
    """Answers too large or too strange to read are equal if they are the same characters."""
    return a.strip() != "" and "".join(a.split()) == "".join(b.split())


def read_gold(gold: str) -> Reference | None:
    """(the gold's answer, its tree); None if there is nothing to compare with."""
    text = gold_answer(gold)
    parsed = _read(text)
    if parsed is None and not text.strip():
        return None
    return text, parsed


def gold_answer(gold: str) -> str:
    """The answer in a gold that may be a whole worked solution."""
    if "\\boxed" in gold or "\\fbox" in gold:
        box = last_box(gold, 0)
        if box is not None and box.rule != "unclosed" and box.text.strip():
            return box.text
    index = gold.rfind("####")
    if index >= 0 and gold[index + 4 :].strip():
        return gold[index + 4 :].strip()
    if len(gold) > 12 and "answer" in gold.lower():
        found = extract(gold)
        if found is not None and found.rule in ("answer line", "answer tag"):
            return found.text
    return gold


def _read(text: str) -> Parsed | None:
    quick = _QUICK.fullmatch(text)
    if quick is not None:
        return _quick_number(quick)
    if len(text) > _CACHED_CHARACTERS:
        return _parse_or_none(text)
    return _cached(text)


def _quick_number(match: re.Match[str]) -> Parsed:
    sign, whole, decimals = match.groups()
    whole = whole.replace(",", "")
    if decimals is None:
        value = Fraction(int(sign + whole))
        return Parsed(Node("num", (), value), "", "")
    return Parsed(Node("num", (), Fraction(int(sign + whole + decimals), 10 ** len(decimals)), len(decimals)), "", "")


@lru_cache(maxsize=8_192)
def _cached(text: str) -> Parsed | None:
    return _parse_or_none(text)


def _parse_or_none(text: str) -> Parsed | None:
    try:
        return parse(text)
    except (UnreadableError, RecursionError, ValueError, OverflowError):
        return None
