"""From an answer's characters to tokens, in linear time and with a cap on both."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from rlvr.verifiers.math.words import AMBIGUOUS, UNITS

MAX_CHARACTERS = 6_000
MAX_TOKENS = 2_500
MAX_NUMBER_DIGITS = 1_500


class UnreadableError(Exception):
    """The text is no mathematics that we read, or is larger than the budget. Never leaves this package."""


class Token(NamedTuple):
    """`kind`: n number, w word of letters, c command without its backslash, t words from \\text{}, s any sign, end."""

    kind: str
    value: str
    spaced: bool


END = Token("end", "", False)

_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "－": "-", "×": r"\times ", "⋅": r"\cdot ",
    "·": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∞": r"\infty ",
    "√": r"\sqrt ", "°": r"^\circ ", "º": r"^\circ ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "≡": r"\equiv ",
    "→": r"\to ", "∖": r"\setminus ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "∀": r"\forall ", "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "…": r"\ldots ", "′": "'", "’": "'",
    "∧": r"\land ", "∨": r"\lor ", "⟨": r"\langle ", "⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "，": ", ", "、": ", ", "；": ";", "：": ":", "。": ".", "（": "(", "）": ")",
    "€": r"\text{eur} ", "£": r"\text{gbp} ", "¥": r"\text{yen} ", "￥": r"\text{yuan} ", "₹": r"\text{inr} ",
    "％": "%", "∣": "|", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅛": " 1/8", "⅜": " 3/8",
    "⅝": " 5/8", "⅞": " 7/8", "⅕": " 1/5", "⅖": " 2/5", "⅗": " 3/5", "⅘": " 4/5", "⅙": " 1/6", "⅚": " 5/6",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "", "\u202e": "", "\u202d": "", "\u200e": "",
    "\u200f": "", "\x00": "", "\u2061": "", "\u2062": "", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "γ": r"\gamma ", "δ": r"\delta ", "λ": r"\lambda ", "μ": r"\mu ", "φ": r"\phi ", "ϕ": r"\phi ", "ω": r"\omega ",
    "σ": r"\sigma ", "ρ": r"\rho ", "τ": r"\tau ", "ε": r"\epsilon ", "Δ": r"\Delta ", "Ω": r"\Omega ",
}  # fmt: skip
_TRANSLATION = str.maketrans(_SIGNS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_ROOT_OF_NUMBER = re.compile(r"√\s?(\d+(?:\.\d+)?)")
_SUPER_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUB_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")


def plain_characters(text: str) -> str:
    """Unicode digits, signs, superscripts and invisible characters as ASCII and LaTeX; other letters stay."""
    if text.isascii():
        return text
    text = _SUPER_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _SUB_RUN.sub(lambda run: "_{" + run.group().translate(_SUBSCRIPTS) + "}", text)
    text = _ROOT_OF_NUMBER.sub(r"\\sqrt{\1}", text)
    text = text.translate(_TRANSLATION)
    if text.isascii():
        return text
    folded = []
    for character in text:
        if character.isascii():
            folded.append(character)
        elif (digit := unicodedata.digit(character, None)) is not None:
            folded.append(str(digit))
        else:
            plain = unicodedata.normalize("NFKC", character)
            folded.append(plain.translate(_TRANSLATION) if unicodedata.category(character) != "Cs" else "")
    return "".join(folded)


_DROPPED = re.compile(
    r"\\(?:left|right|bigg?[lrm]?|Bigg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|middle|rm|bf|it|mathstrut"
    r"|hfill|noindent|nonumber|allowbreak|centering)(?![A-Za-z])\.?"
)
_SPACES = re.compile(
    r"(?<!\\)\\(?:qquad|quad|enspace|thinspace|hspace\*?\{[^{}]*\}|[hv]?phantom(?:\{[^{}]*\})?)|~|(?<!\\)\\[,:;! \n]"
)
_ESCAPED_TWICE = re.compile(
    r"\\\\(?=(?:[dt]?frac|sqrt|left|right|pi|text|circ|cdot|times|infty|leq?|geq?|cup|in|boxed|theta|pm)(?![A-Za-z]))"
)
_RUN_ON = re.compile(r"(?<![A-Za-z\\])(?:(?:sin|cos|tan|cot|sec|csc|log|ln)[xyz])+(?![A-Za-z])")
_FUNCTION_OF_LETTER = re.compile(r"(sin|cos|tan|cot|sec|csc|log|ln)([xyz])")
_UNIT = re.compile(r"\s*~?\s*([A-Za-z]+)(?:\^\{?\d\}?)?(?:/[A-Za-z]+(?:\^\{?\d\}?)?)?\s*")
_DECLARATION = re.compile(
    r"\(\s*([A-Za-z])\s*\\in\s*(\\mathbb\s*\{?\s*[A-Z]\s*\}?(?:\^[+*])?|\\mathbf\{[A-Z]\}|[ZNQR])\s*\)"
)
_STRAY_POINT = re.compile(r"(?<![.\s])\s*\.\s*(?=[\])}](?:\s|$))")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_BRACED_COMMA = re.compile(
    r"(?<=\d)\s*(?:\{,\}|,\\!|\\!,|\\!\\,)\s*(?=\d{3})|(?<=\d)(?:\\,|\{\\,\}|\\ |\\!|~)(?=\d{3}(?!\d))"
)
_BLANK_GROUPS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_TAG_SUP = re.compile(r"<su([pb])>([^<>]{1,40})</su[pb]>")

_TOKEN = re.compile(
    r"\s+|(\d+\.\d+|\d+|\.\d+)|\\([A-Za-z]+)|([A-Za-z]+)|(\\[^A-Za-z]|<=|>=|=>|!=|==|\*\*|->|[^\sA-Za-z\d])", re.ASCII
)
_TEXT_COMMANDS = frozenset(
    str.split(
        "text textbf textit textrm textsf texttt textnormal mbox hbox mathrm mathbf mathsf mathit mathtt operatorname mathop bm"
        " boldsymbol emph mathnormal textup underline pmb unit si"
    )
)
_INLINE = re.compile(r"\s*(?:[A-Za-z]|[-+]?\d[\d.,]*|\\.*|.*[$^_\\].*)\s*", re.DOTALL)


def clean(text: str) -> str:
    """The answer with spacing commands, sizing commands and digit grouping taken out."""
    text = plain_characters(text.strip())
    if "<su" in text:
        text = _TAG_SUP.sub(lambda tag: ("^{" if tag.group(1) == "p" else "_{") + tag.group(2) + "}", text)
    if "," in text or "\\" in text or "~" in text:
        text = _BRACED_COMMA.sub("", text)
    if "\\\\" in text:
        text = _ESCAPED_TWICE.sub(r"\\", text)
    if "." in text:
        text = _STRAY_POINT.sub("", text)
    if "\\" in text:
        text = text.replace("\\left.", " ").replace("\\right.", " ")
        text = _DROPPED.sub(" ", text)
    if "\\" in text or "~" in text:
        text = _SPACES.sub(" ", text)
    if "\\in" in text:
        text = _DECLARATION.sub(r", \1 \\in \2", text)
    text = _RUN_ON.sub(lambda run: _FUNCTION_OF_LETTER.sub(r" \1 \2 ", run.group()), text)
    if "," in text:
        text = _join_groups(text)
    elif " " in text and _BLANK_GROUPS.fullmatch(text.strip(" $")):
        text = text.replace(" ", "")
    return text.strip()


def _join_groups(text: str) -> str:
    """`1,234` is one number, unless it stands in brackets that hold no other comma: `(11,111)` is a point."""
    wide_comma = ", " in text or ",\\" in text or ";" in text

    def join(match: re.Match[str]) -> str:
        if not wide_comma:
            before = text[: match.start()]
            depth = sum(before.count(sign) for sign in "([") + before.count("\\{")
            depth -= sum(before.count(sign) for sign in ")]") + before.count("\\}")
            if depth > 0:
                return match.group()
        return match.group().replace(",", "")

    return _GROUPED.sub(join, text)


def _braced(text: str, start: int) -> int:
    """The index behind the brace that closes the one at `start`; -1 if none does."""
    depth = 0
    for index in range(start, len(text)):
        character = text[index]
        if character == "{" and text[index - 1] != "\\":
            depth += 1
        elif character == "}" and text[index - 1] != "\\":
            depth -= 1
            if depth == 0:
                return index + 1
    return -1


def tokenize(text: str) -> list[Token]:
    """The tokens of a cleaned answer, an END behind them. Raises UnreadableError beyond the caps."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(f"answer of {len(text)} characters")
    tokens: list[Token] = []
    _scan(text, tokens, 0)
    tokens.append(END)
    return tokens


def _scan(text: str, tokens: list[Token], nesting: int) -> None:
    position, spaced = 0, False
    match_at = _TOKEN.match
    while position < len(text):
        match = match_at(text, position)
        assert match is not None  # its last alternative takes any character
        position = match.end()
        group = match.lastindex
        value = match[0] if group is None else match[group]
        if group is None or value.isspace():  # Unicode's spaces, such as U+0085, are signs to an ASCII pattern
            spaced = True
            continue
        if group == 1:
            if len(value) > MAX_NUMBER_DIGITS:
                raise UnreadableError("a number of too many digits")
            tokens.append(Token("n", value, spaced))
        elif group == 2:
            if value in _TEXT_COMMANDS:
                position = _scan_text(text, position, tokens, nesting, value)
            else:
                tokens.append(Token("c", value, spaced))
        elif group == 3:
            tokens.append(Token("w", value, spaced))
        elif not value.isascii():
            tokens.append(Token("t", value, spaced))
        elif value != "$" and value != "\\(" and value != "\\)" and value != "\\[" and value != "\\]":
            tokens.append(Token("s", value, spaced))
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError("too many tokens")


def _scan_text(text: str, position: int, tokens: list[Token], nesting: int, command: str) -> int:
    """What stands in \\text{...}: letters, numbers and mathematics are read as such, words stay words."""
    while position < len(text) and text[position].isspace():
        position += 1
    if position >= len(text) or text[position] != "{":
        return position
    end = _braced(text, position)
    if end < 0 or nesting > 8:
        raise UnreadableError("unbalanced braces")
    content = text[position + 1 : end - 1]
    unit = _UNIT.fullmatch(content)
    behind_value = bool(tokens) and (tokens[-1].kind == "n" or tokens[-1].value in ("}", ")"))
    if unit is not None and behind_value and (unit.group(1) in UNITS or unit.group(1) in AMBIGUOUS):
        tokens.append(Token("t", content.replace("~", " ").strip(), True))
        return end
    if _INLINE.fullmatch(content) or command in ("operatorname", "mathop"):
        _scan(content, tokens, nesting + 1)
    elif content.strip():
        tokens.append(Token("t", content.strip(), content[:1] == " "))
    return end
