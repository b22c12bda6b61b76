"""Verify tool calls: parse any model's format, compare with gold, get a Score. Pure Python; nothing is ever evaluated.

from rlvr.verifiers.toolcall import verify
verify('<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>', tools, gold)
"""

from rlvr.verifiers.toolcall import json_formats, python_formats, token_formats, xml_formats  # noqa: F401  (they register)
from rlvr.verifiers.toolcall.calls import ParsedCall, ParsedResponse
from rlvr.verifiers.toolcall.checking import check_call
from rlvr.verifiers.toolcall.formats import Format, formats, register_format
from rlvr.verifiers.toolcall.matching import CallVerdict, Verdict, match
from rlvr.verifiers.toolcall.parsing import parse
from rlvr.verifiers.toolcall.policy import Policy
from rlvr.verifiers.toolcall.schema import ToolSet
from rlvr.verifiers.toolcall.verdict import verify
from rlvr.verifiers.toolcall.writing import write

__all__ = [
    "CallVerdict",
    "Format",
    "ParsedCall",
    "ParsedResponse",
    "Policy",
    "ToolSet",
    "Verdict",
    "check_call",
    "formats",
    "match",
    "parse",
    "register_format",
    "verify",
    "write",
]
