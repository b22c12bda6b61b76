"""From the text of a whole answer to its tree: its wrappers off, its special forms tried, then the grammar, then words.

`parse` is total up to its budgets: what is no mathematics becomes a text, what breaks a budget an UnreadableError.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from rlvr.verifiers.math.lexer import UnreadableError, clean, tokenize
from rlvr.verifiers.math.parser import AnswerParser, words_node
from rlvr.verifiers.math.tree import Node, negate, number
from rlvr.verifiers.math.words import normal_text


class Parsed(NamedTuple):
    """An answer read: its tree, its words for comparing texts, and its characters without blanks."""

    node: Node
    words: str
    source: str


_SPECIAL = re.compile(r"<\|[a-zA-Z_]{1,30}\|>|</s>|<eos>|<\|end▁of▁sentence\|>|\[/?INST\]")
_TEXT_WHOLE = re.compile(
    r"\\(?:text|textbf|mathrm|mbox|textrm|textnormal|mathbf|textit|mathit|mathsf|operatorname)\s*\{([^{}]*)\}"
)
_CHOICE = re.compile(r"(?:option |choice |answer )?[(\[]?\s*([A-Ja-j])\s*[)\]]?\s*[.:)]?", re.IGNORECASE)
_CHOICE_TEXT = re.compile(r"(?:\(([A-J])\)|([A-J])[.):]|([A-J])(?=\s+[A-Z][a-z]))\s*(\S.{0,300})", re.DOTALL)
_TIME = re.compile(r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*(?:([aApP])\.?\s*[mM]\.?)?")
_BASE = re.compile(
    r"[({]*\s*([0-9A-Za-z]{1,400})\s*[)}]*\s*"
    r"(?:_\s*\{?\s*(?:\(\s*)?([0-9]{1,2}|[a-z]+)(?:\s*\))?\s*\}?|\s+(?:in )?base[- ](\d{1,2}|[a-z]+))"
)
_RATE = re.compile(r"(?<=\d) ?((?:k|c|m)?m|ft|mi|km|g|kg|L|mol|J)/(s|h|hr|min|L|m|mol|kg)(\^\{?\d\}?)?$")
_ABOUT = re.compile(
    r"^\s*(?:(?i:hence|therefore|thus|so|then)\b[,:]?\s*)?"
    r"(?:(?:\\approx|≈|\\sim(?![a-z])|~|=|(?:about|approximately|roughly|approx\.?)\b)\s*)?"
)
_BASE_WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
               "eleven": 11, "twelve": 12, "sixteen": 16, "binary": 2, "hex": 16}  # fmt: skip


MAX_TREE_DEPTH = 60


def deeper_than(node: Node, limit: int) -> bool:
    """Whether a tree has more levels than a limit: `2!!!!!` is flat to read and deep to compute."""
    level = [node]
    for _ in range(limit):
        level = [arg for parent in level for arg in parent.args]
        if not level:
            return False
    return True


def parse(text: str) -> Parsed:
    """The tree of an answer's text. Raises UnreadableError if it is empty or beyond a budget."""
    stripped = strip_wrappers(text)
    if not stripped:
        raise UnreadableError("an empty answer")
    words = normal_text(stripped) if len(stripped) <= 2000 else stripped
    return Parsed(_parse_stripped(stripped, 0), words, "".join(stripped.split()))


def _parse_stripped(stripped: str, nesting: int) -> Node:
    special = _special_form(stripped, nesting)
    if special is not None:
        return special
    cleaned = clean(_ABOUT.sub("", stripped))
    if "/" in cleaned:
        cleaned = _RATE.sub(r" \\text{\1/\2}\3", cleaned)
    if cleaned.count("$") == 1 and len(cleaned) > 1 and cleaned.lstrip("-")[0] == "$":
        cleaned = cleaned.replace("$", "\\$")
    tokens = tokenize(cleaned)
    try:
        node = AnswerParser(tokens).answer()
        if deeper_than(node, MAX_TREE_DEPTH):
            raise UnreadableError("nested too deeply")
        return node
    except (UnreadableError, ValueError, RecursionError) as error:
        if isinstance(error, UnreadableError) and error.args[0] == "nested too deeply":
            raise
    if nesting < 2 and len(stripped) < 400:
        tail = _prose_tail(stripped)
        if tail is not None:
            return _parse_stripped(tail, nesting + 1)
    return words_node(stripped)


def _prose_tail(text: str) -> str | None:
    """What follows `... is` in a sentence, if it holds mathematics."""
    plain = text.replace("\\ ", " ")
    position = max(plain.rfind(" is "), plain.rfind(" are "))
    if position < 0:
        return None
    head, tail = plain[:position].lower(), plain[position:].split(" ", 2)[-1].strip(" .:")
    tail = strip_wrappers(tail)
    if not tail or not any(character.isdigit() or character == "\\" for character in tail):
        return None
    return None if " not" in head[-5:] or tail.lower().startswith(("not ", "no ")) or " not " in tail else tail


def strip_wrappers(text: str) -> str:
    """Without the marks around an answer: dollars, bold, quotes, boxes, a closing full stop."""
    if "<" in text:
        text = _SPECIAL.sub("", text)
    text = text.strip()
    for _ in range(6):
        before = text
        if text.count("**") == 1:
            text = text.strip("*")
        text = text.strip().rstrip(",;").strip()
        if text.endswith(".") and not text.endswith(("..", "m.", "M.")):
            text = text[:-1].rstrip()
        if text[:1] in "*$`\"'_" and len(text) > 1:
            for mark in ("$$", "**", "$", "`", '"', "__", "*"):
                if (
                    text.startswith(mark)
                    and text.endswith(mark)
                    and len(text) > 2 * len(mark)
                    and mark not in text[len(mark) : -len(mark)]
                ):
                    text = text[len(mark) : -len(mark)]
                    break
        if (
            text[:2] in ("\\(", "\\[")
            and text[-2:] in ("\\)", "\\]")
            and "\\(" not in text[2:]
            and "\\[" not in text[2:]
        ):
            text = text[2:-2]
        if text.startswith(("\\boxed{", "\\fbox{")) and text.endswith("}") and text.count("{") == text.count("}"):
            inner = text[text.index("{") + 1 : -1]
            if _balanced(inner):
                text = inner
        if text == before:
            break
    return text.strip()


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _special_form(text: str, nesting: int) -> Node | None:
    """Forms that the grammar would read otherwise: choices, times, base-n numbers, whole texts."""
    if len(text) > 400:
        return None
    whole = _TEXT_WHOLE.fullmatch(text)
    plain = whole.group(1).strip() if whole else text
    if not plain:
        raise UnreadableError("an empty text")
    if whole and nesting < 2 and plain and len(plain) > 1:
        return _parse_stripped(strip_wrappers(plain), nesting + 1) if strip_wrappers(plain) else None
    if "\\" in plain:
        plain = _TEXT_WHOLE.sub(lambda match: match.group(1), plain)
    choice = _CHOICE.fullmatch(plain)
    if choice and (plain != choice.group(1) or plain.isupper()):
        return Node("choice", (), choice.group(1).upper())
    choice_text = _CHOICE_TEXT.fullmatch(plain)
    if choice_text and nesting < 2:
        rest = strip_wrappers(choice_text.group(4))
        letter = choice_text.group(1) or choice_text.group(2) or choice_text.group(3)
        if rest and rest[0] not in "=<>+-*/^_(":
            return Node("choice", (_parse_stripped(rest, nesting + 1),), letter)
    if plain[0].isdigit() and (":" in plain or "m" in plain.lower()):
        time = _TIME.fullmatch(plain.replace("\\", " ").replace("~", " ").replace("{", "").replace("}", "").strip())
        if time and (time.group(4) or time.group(3)):
            return _time_node(time)
    negative = plain.startswith("-")
    based = _BASE.fullmatch(plain[1:] if negative else plain)
    if based:
        node = _base_node(based)
        if node is not None and negative:
            return negate(node) if node.kind == "num" else node._replace(value="-" + node.text)
        return node
    return None


def _time_node(match: re.Match[str]) -> Node | None:
    hour, minute, second = int(match.group(1)), int(match.group(2) or 0), int(match.group(3) or 0)
    if hour > 24 or minute > 59 or second > 59:
        return None
    if match.group(4):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match.group(4).lower() == "p" else 0)
    return Node("time", (), Fraction(60 * hour + minute) + Fraction(second, 60), 1 if match.group(4) else 0)


def _base_node(match: re.Match[str]) -> Node | None:
    digits = match.group(1).lower()
    name = match.group(2) or match.group(3)
    base = int(name) if name.isdigit() else _BASE_WORDS.get(name, 0)
    if not 2 <= base <= 36 or not digits[0].isalnum() or (digits[0].isalpha() and (base <= 10 or len(digits) < 2)):
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    if not any(character.isdigit() for character in digits) and base != 16:
        return None
    return number(value) if base == 10 else Node("base", (number(base),), digits.lstrip("0") or "0")
