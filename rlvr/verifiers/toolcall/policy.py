"""How strictly values are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlvr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one comparison. The presets are `strict`, `exec` and `bfcl`."""

    name: str
    coerce: bool = False
    """Read values as a tool with lax typing does (pydantic's lax mode): "5" and 5.0 are 5 where an integer is declared."""
    fill_defaults: bool = False
    """An argument left out equals its declared default: what the tool does is the same."""
    bfcl: bool = False
    """Compare as BFCL's ast_checker does, its known faults included, but without running anything."""


_POLICIES = {
    "strict": Policy("strict"),
    "exec": Policy("exec", coerce=True, fill_defaults=True),
    "bfcl": Policy("bfcl", bfcl=True),
}


def find_policy(policy: str | Policy) -> Policy:
    """The policy of that name. Raises ConfigError for an unknown one."""
    if isinstance(policy, Policy):
        return policy
    if policy not in _POLICIES:
        raise ConfigError(f"no matching policy {policy!r}; choose one of {', '.join(_POLICIES)}")
    return _POLICIES[policy]


_space_or_comma = re.compile(r"[\s,]+")
# A mark at the end of a word and before white space or the end is punctuation: "St. Louis", "/home/user/".
_trailing_mark = re.compile(r"(?<=\w)[./]+(?=[\s,]|$)")
# A dash between two words of several letters separates them; elsewhere it is a sign or an operator.
_separating_dash = re.compile(r"(?<=[^\W\d]{2})[\s,]+-[\s,]+(?=[^\W\d]{2})")
_thousands = re.compile(r"(?<![\d,.])(\d{1,3}(?:,\d{3})+)(?![\d,])")
_between_numbers = re.compile(r"(?<=\d)[\s,]+(?=[-+]?[\d.])|(?<=\.)[\s,]+(?=\d)")


def fold(text: str) -> str:
    """What two strings have in common if they differ only in case, spacing, list separators or closing marks.

    White space and commas vanish, except between numbers, where they keep `1, 5` apart from `15`; the commas of `10,000`
    vanish too. The kind of quote does not count. Signs inside words and before them stay: `-1.5` is neither `1.5` nor
    `15`, and `x**2` is not `x2`.
    """
    text = text.casefold().replace("'", '"')
    if not text.isalnum():
        text = _trailing_mark.sub("", text.strip())
        text = _separating_dash.sub(" ", text)
        if "," in text:
            text = _thousands.sub(lambda found: found.group().replace(",", ""), text)
        text = _between_numbers.sub("\x00", text)
        text = _space_or_comma.sub("", text)
    return text
