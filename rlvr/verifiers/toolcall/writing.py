"""`write`: calls as the text that a model of a format would produce; the inverse of `parse`.

For worked solutions, demonstrations and tests. The shapes are those of the models' own chat templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall.formats import find_format, formats

Arguments = Mapping[str, Any]
_Calls = Sequence[tuple[str, Arguments]]


def write(calls: Sequence[Mapping[str, Any]], format: str = "hermes") -> str:
    """`[{"name", "arguments"}, ...]` as text. Raises ConfigError if the format is unknown or has no writer."""
    name = find_format(format).name
    if name not in _WRITERS:
        raise ConfigError(
            f"format {name!r} can be read but not written; formats that can: {', '.join(sorted(_WRITERS))}"
        )
    return _WRITERS[name]([(call["name"], call.get("arguments") or {}) for call in calls])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _python(calls: _Calls) -> str:
    return ", ".join(f"{name}({', '.join(f'{key}={value!r}' for key, value in args.items())})" for name, args in calls)


def _tagged(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _hermes(calls: _Calls) -> str:
    return "\n".join(
        f"<tool_call>\n{_json({'name': name, 'arguments': dict(args)})}\n</tool_call>" for name, args in calls
    )


def _llama3(calls: _Calls) -> str:
    return "; ".join(_json({"name": name, "parameters": dict(args)}) for name, args in calls)


def _list(calls: _Calls) -> str:
    return _json([{"name": name, "arguments": dict(args)} for name, args in calls])


def _qwen3_coder(calls: _Calls) -> str:
    blocks = []
    for name, args in calls:
        inner = "".join(f"<parameter={key}>\n{_tagged(value)}\n</parameter>\n" for key, value in args.items())
        blocks.append(f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>")
    return "\n".join(blocks)


def _glm45(calls: _Calls) -> str:
    blocks = []
    for name, args in calls:
        inner = "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{_tagged(value)}</arg_value>\n" for key, value in args.items()
        )
        blocks.append(f"<tool_call>{name}\n{inner}</tool_call>")
    return "\n".join(blocks)


def _deepseek_v3(calls: _Calls) -> str:
    inner = "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{_json(dict(args))}\n```<｜tool▁call▁end｜>"
        for name, args in calls
    )
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


def _deepseek_v31(calls: _Calls) -> str:
    inner = "".join(
        f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{_json(dict(args))}<｜tool▁call▁end｜>" for name, args in calls
    )
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


def _kimi_k2(calls: _Calls) -> str:
    inner = "".join(
        f"<|tool_call_begin|>functions.{name}:{i}<|tool_call_argument_begin|>{_json(dict(args))}<|tool_call_end|>"
        for i, (name, args) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inner}<|tool_calls_section_end|>"


def _openai(calls: _Calls) -> str:
    return _json({"role": "assistant", "content": None, "tool_calls": openai_tool_calls(calls)})


def openai_tool_calls(calls: _Calls) -> list[dict[str, Any]]:
    """`(name, arguments)` pairs as the `tool_calls` of an assistant message."""
    return [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": _json(dict(args))}}
        for i, (name, args) in enumerate(calls)
    ]


_WRITERS: dict[str, Callable[[_Calls], str]] = {
    "hermes": _hermes,
    "llama3_json": _llama3,
    "mistral": lambda calls: f"[TOOL_CALLS] {_list(calls)}" if calls else "",
    "mistral_v11": lambda calls: "".join(f"[TOOL_CALLS]{name}[ARGS]{_json(dict(args))}" for name, args in calls),
    "xlam": _list,
    "pythonic": lambda calls: f"[{_python(calls)}]",
    "python": lambda calls: "\n".join(_python([call]) for call in calls),
    "qwen3_coder": _qwen3_coder,
    "glm45": _glm45,
    "deepseek_v3": _deepseek_v3,
    "deepseek_v31": _deepseek_v31,
    "kimi_k2": _kimi_k2,
    "openai": _openai,
}


def writable() -> list[str]:
    """The formats that `write` knows."""
    return [name for name in formats() if name in _WRITERS]
