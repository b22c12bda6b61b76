"""`verify`: a response and a gold answer to a Score, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.score import Score
from rlvr.verifiers.toolcall.matching import match
from rlvr.verifiers.toolcall.parsing import Response, parse
from rlvr.verifiers.toolcall.policy import Policy
from rlvr.verifiers.toolcall.schema import ToolSet


def verify(
    response: Response,
    tools: Sequence[Mapping[str, Any]] | ToolSet | None,
    gold: Any,
    format: str = "hermes",
    policy: str | Policy = "strict",
) -> Score:
    """Reward 1 if the response makes exactly the wanted calls, else 0.

    `response` is the raw text of a turn or an OpenAI assistant message. `gold` is a list of `{"name", "arguments"}` or of
    BFCL's possible answers; `[]` wants no call and no broken attempt. The parts `format`, `name` and `arguments`, in
    [0, 1], are for logs; adding a call never raises the reward. Any response has a Score, in bounded time; nothing in it
    is ever run. Raises ConfigError if tools, gold, format or policy are malformed.
    """
    toolset = tools if isinstance(tools, ToolSet) else ToolSet(tools)
    parsed = parse(response, format, toolset)
    verdict = match(parsed, gold, toolset, policy)
    detail = {
        "calls": [
            {
                "name": call.name[:100],
                "status": call.status,
                "span": list(call.span),
                "ok": said.ok,
                "reason": said.reason,
            }
            for call, said in zip(parsed.calls, verdict.per_call, strict=True)
        ],
        "missing": verdict.missing,
    }
    return Score(1.0 if verdict.ok else 0.0, verdict.parts, verdict.reason, detail=detail)
