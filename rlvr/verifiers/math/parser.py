"""From the text of an answer to its tree: lists, relations, sets, units and words around expressions.

`parse` is total: what is no mathematics becomes a text, what breaks a budget an UnreadableError.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from rlvr.verifiers.math.expressions import ExpressionParser
from rlvr.verifiers.math.functions import FUNCTIONS, RELATIONS
from rlvr.verifiers.math.lexer import Token, UnreadableError, clean, tokenize
from rlvr.verifiers.math.tree import EMPTY, INFINITY, REALS, Node, call, negate, number, symbol
from rlvr.verifiers.math.words import AMBIGUOUS, MEANINGS, UNITS, normal_text, number_words

_CLAUSE = frozenset(
    str.split("for where when with if such as since because whenever i.e. approximately (approximately) provided given")
)
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cu": "3", "cubed": "3"}
_REFUSED_WORDS = frozenset(
    str.split(
        "not or and is isn't are but no nor wrong maybe perhaps either than less more at least most minus plus times over equals"
        " false incorrect between"
    )
)
_JOINS = {"land": "and", "wedge": "and", "lor": "or", "vee": "or", "cup": "cup"}
_SET_OPERATIONS = {"cup": "union", "bigcup": "union", "sqcup": "union", "cap": "inter", "setminus": "minus", "backslash": "minus",
                   "smallsetminus": "minus", "bigcap": "inter"}  # fmt: skip


class Parsed(NamedTuple):
    """An answer read: its tree, its words for comparing texts, and its characters without blanks."""

    node: Node
    words: str
    source: str


class AnswerParser(ExpressionParser):
    """Reads a whole answer: items joined by commas, `and`, `or`, semicolons."""

    def answer(self) -> Node:
        node = self.listing()
        if self.token.kind != "end":
            raise UnreadableError(f"unexpected {self.token.value!r}")
        return node

    def listing(self) -> Node:
        """Items up to a closing bracket or the end; one item stands for itself."""
        self.enter()
        groups: list[list[Node]] = [[self.item()]]
        words: set[str] = set()
        while True:
            joint = self.separator()
            if joint is None:
                break
            if self.at_close() and joint in (",", ";"):
                break
            if joint == ";":
                groups.append([])
            else:
                words.add(joint)
            groups[-1].append(self.item())
        self.depth -= 1
        joiner = "or" if "or" in words else "and" if "and" in words else ","
        if len(groups) > 1:
            if any(len(group) > 1 for group in groups):
                nested = tuple(group[0] if len(group) == 1 else Node("list", tuple(group), ",") for group in groups)
                return Node("list", nested, ";")
            return Node("list", tuple(group[0] for group in groups), ",")
        items = groups[0]
        return items[0] if len(items) == 1 else Node("list", tuple(items), joiner)

    def at_close(self) -> bool:
        token = self.token
        return token.kind == "end" or token.value in (")", "]", "}", "\\}", "&", "\\\\", "end", "rbrace")

    def separator(self) -> str | None:
        """Takes `,`, `;`, `and`, `or`, or a comma with one of these words behind it."""
        found: str | None = None
        while True:
            token = self.token
            word = token.value.strip(" ,;.~").lower()
            if token.kind == "s" and token.value in (",", ";"):
                if found in (",", ";") and token.value == ",":
                    raise UnreadableError("two commas")
                found = found or token.value
            elif token.kind in "wt" and word in ("and", "or", "&", "和", "或"):
                found = "or" if word in ("or", "或") else "and"
            elif token.kind == "c" and token.value in ("land", "wedge", "lor", "vee"):
                found = _JOINS[token.value]
            elif token.kind == "t" and not word and found is not None:
                pass
            else:
                return found
            self.at += 1

    def item(self) -> Node:
        """A labelled value, a relation, an expression or words."""
        label = self.label()
        if label is not None:
            return Node("label", (self.item(),), label)
        words = self.words_item()
        if words is not None:
            return words
        return self.relation()

    def label(self) -> str | None:
        """`Paolo:` before a value."""
        index = self.at
        parts = []
        while index - self.at < 5 and self.tokens[index].kind in "wt":
            value = self.tokens[index].value.strip()
            parts.append(value)
            if value.endswith(":"):
                self.at = index + 1
                return normal_text(" ".join(parts))
            index += 1
        if (
            not parts
            or self.tokens[index].value != ":"
            or (len(parts) == 1 and len(parts[0]) < 2)
            or parts[0] in FUNCTIONS
        ):
            return None
        self.at = index + 1
        return normal_text(" ".join(parts))

    def words_item(self) -> Node | None:
        """An item of words alone: a name, a number in words, `no solution`; before `=` it is a name."""
        index = self.at
        parts: list[str] = []
        while self.tokens[index].kind in "wt":
            token = self.tokens[index]
            if token.kind == "w" and (token.value in FUNCTIONS or token.value in ("pi", "oo")):
                return None
            if parts and token.value.strip(" ,.").lower() in ("and", "or"):
                break
            parts.append(token.value.strip())
            index += 1
        if not parts:
            return None
        if (
            len(parts) == 1
            and self.tokens[self.at].kind == "w"
            and len(parts[0]) < 4
            and parts[0].lower() not in MEANINGS
        ):
            return None
        if all(len(part) < 3 for part in parts) and all(token.kind == "w" for token in self.tokens[self.at : index]):
            return None
        following = self.tokens[index]
        text = " ".join(parts)
        if following.kind == "s" and following.value == "=" and len(parts) <= 5:
            if len(parts) == 1 and self.tokens[self.at].kind == "t" and len(text) < 3:
                return None
            self.at = index
            return self.chain(symbol("text_" + normal_text(text)))
        if (
            following.kind in "wt"
            or following.kind == "end"
            or following.value in (",", ";", ")", "}", "\\}", "]", "&", "\\\\", "end")
        ):
            self.at = index
            return words_node(text)
        return None

    # -- relations and sets

    def relation(self) -> Node:
        return self.chain(self.side())

    def chain(self, first: Node) -> Node:
        sides, signs = [first], []
        while True:
            sign = self.relation_sign()
            if sign is None:
                break
            signs.append(sign)
            sides.append(self.side())
        if not signs:
            return first
        return Node("rel", tuple(sides), " ".join(signs))

    def relation_sign(self) -> str | None:
        token = self.token
        if token.kind == "c" and token.value == "not":
            after = RELATIONS.get(self.ahead().value)
            self.at += 2
            if after == "=":
                return "!="
            if after == "in":
                return "notin"
            raise UnreadableError("a negated relation")
        if token.kind not in "sc" or token.value not in RELATIONS or (self.in_builder and token.value == "mid"):
            return None
        self.at += 1
        if token.value in ("<", ">") and self.is_sign("="):
            self.at += 1
            return token.value + "="
        return RELATIONS[token.value]

    def side(self) -> Node:
        token = self.token
        if (
            token.kind == "t"
            and UNITS.get(token.value) in ("usd", "eur", "gbp", "yuan", "yen", "inr")
            and self.ahead().kind == "n"
        ):
            self.at += 1
            return Node("unit", (self.ratio(),), UNITS[token.value])
        if token.kind == "t" and self.ahead().kind == "s" and self.ahead().value == "=":
            self.at += 1
            return symbol("text_" + normal_text(token.value))
        if token.kind == "c" and token.value in ("forall", "exists"):
            self.at += 1
            return call(token.value, self.side())
        node = self.set_expression()
        return self.suffix(node)

    def set_expression(self) -> Node:
        left = self.ratio()
        while True:
            token = self.token
            if token.kind == "c" and token.value in _SET_OPERATIONS:
                kind = _SET_OPERATIONS[token.value]
            elif token.kind == "w" and token.value == "U" and left.kind in ("tuple", "union"):
                kind = "union"
            elif (token.kind == "s" and token.value == "\\\\" and left.kind == "reals") or (
                token.kind == "s" and token.value == "-" and left.kind == "reals"
            ):
                kind = "minus"
            else:
                return left
            self.at += 1
            right = _as_set(self.ratio())
            left = _as_set(left)
            if kind == "minus":
                left = Node(kind, (left, right))
            else:
                parts = [
                    *(left.args if left.kind == kind else (left,)),
                    *(right.args if right.kind == kind else (right,)),
                ]
                left = Node(kind, tuple(parts))

    def ratio(self) -> Node:
        first = self.additive()
        if self.in_builder or not (self.is_sign(":") or self.is_command("colon")):
            return first
        terms = [first]
        while self.is_sign(":") or self.is_command("colon"):
            self.at += 1
            terms.append(self.additive())
        return Node("ratio", tuple(terms))

    # -- what stands behind a value

    def suffix(self, node: Node) -> Node:
        """Units, `(mod n)`, and words that say nothing about the value."""
        if self.token.kind == "c" and self.token.value in ("pmod", "mod", "bmod"):
            self.at += 1
            modulus = self.argument() if self.is_sign("{") else self.additive()
            return Node("unit", (node,), "mod" + repr(modulus.value))
        if self.token.kind == "s" and self.token.value == "(" and self.ahead().value in ("mod", "bmod"):
            self.at += 2
            modulus = self.additive()
            self.expect(")")
            return Node("unit", (node,), "mod" + repr(modulus.value))
        if self.token.kind not in "wt":
            return node
        start = self.at
        words = self.trailing_words()
        if words is None:
            return node
        if not words:
            self.at = start
            return node
        if words[0].lower() in _CLAUSE:
            self.skip_clause()
            return node
        unit = unit_name(words)
        if unit == "deg":
            return Node("deg", (node,))
        if unit == "percent":
            return Node("percent", (node,))
        if unit is not None:
            return node if unit == "unit" else Node("unit", (node,), unit)
        plain = [token for token in self.tokens[start : self.at] if token.kind == "w"]
        if plain and (len(words) > 5 or any(word.lower() in _REFUSED_WORDS for word in words)):
            raise UnreadableError("words behind a value")
        if any(word.lower() in _REFUSED_WORDS for word in words) and any(
            character.isdigit() for word in words for character in word
        ):
            raise UnreadableError("words behind a value")
        if words[0].lower() in ("or", "not", "but"):
            raise UnreadableError("a hedge")
        return node

    def trailing_words(self) -> list[str] | None:
        words: list[str] = []
        while True:
            token = self.token
            if token.kind in "wt":
                value = token.value.strip(" ,.;()") if token.kind == "t" else token.value
                if value.lower() in ("and", "or", ""):
                    return words
                if token.kind == "t" and value.split()[0].lower() in _CLAUSE and not words:
                    return [value.split()[0]]
                if token.kind == "w" and value.lower() in _CLAUSE:
                    return words or [value]
                words.extend(value.split())
            elif token.kind == "s" and token.value == "/" and words and self.ahead().kind in "wt":
                words.append("/")
            elif token.kind == "s" and token.value == "^" and words:
                self.at += 1
                braced = self.accept("{")
                exponent = self.take()
                if exponent.kind != "n":
                    raise UnreadableError("a unit's exponent")
                if braced:
                    self.expect("}")
                words.append("^" + exponent.value)
                continue
            elif (token.kind == "s" and token.value in (".",) and words) or (
                token.kind == "c" and token.value == "cdot" and words and self.ahead().kind in "wt"
            ):
                pass
            else:
                return words
            self.at += 1

    def skip_clause(self) -> None:
        """`for all x in Q`: what a value holds for says nothing about the value."""
        if self.depth > 2:
            raise UnreadableError("a clause inside brackets")
        self.at = len(self.tokens) - 1

    def primary(self) -> Node:
        token = self.token
        if token.kind == "t":
            value = token.value.strip()
            fraction_of_units = self.at > 1 and self.tokens[self.at - 1].value == "{"
            if fraction_of_units and (value in UNITS or value in AMBIGUOUS):
                self.at += 1
                return symbol("unit_" + UNITS.get(value, value))
            if value.isalpha() and len(value) <= 12 and self.at > 0 and self.tokens[self.at - 1].value in ("_", "{"):
                self.at += 1
                return symbol("text_" + value.lower())
        return super().primary()


def _as_set(node: Node) -> Node:
    """Beside a union or intersection, `{1, 2}` in TeX's own braces can only mean a set."""
    if node.kind == "list":
        return Node("set", node.args)
    return Node("set", (node,)) if node.kind == "num" else node


def unit_name(words: list[str]) -> str | None:
    """The canonical name of a unit such as `square feet`, `cm ^2`, `miles per hour`; None if it is no unit."""
    parts: list[str] = []
    pending = ""
    for word in words:
        lowered = word.lower()
        if word.startswith("^"):
            if not parts:
                return None
            parts[-1] += word
        elif lowered in _POWERS:
            if lowered in ("squared", "cubed"):
                if not parts:
                    return None
                parts[-1] += "^" + _POWERS[lowered]
            else:
                pending = "^" + _POWERS[lowered]
        elif word == "/" or lowered in ("per", "a", "an", "each"):
            if parts and lowered != "each":
                parts.append("/")
        elif "/" in word and len(word) > 1:
            inner = (
                unit_name([piece for side in word.split("/") for piece in (side, "/")][:-1]) if word[0] != "/" else None
            )
            if inner is None:
                return None
            parts.append(inner)
        else:
            name = UNITS.get(word) or UNITS.get(lowered) or (word if word in AMBIGUOUS else None)
            if name is None and "^" in word and word.split("^")[0] in UNITS:
                name = UNITS[word.split("^")[0]] + "^" + word.split("^")[1].strip("{}")
            if name is None:
                return None
            parts.append(name + pending)
            pending = ""
    if pending or not parts:
        return None
    return {"mi/h": "mph", "km/h": "kmh", "h/mi": "h/mi", "usd": "usd"}.get("".join(parts), "".join(parts))


def words_node(text: str) -> Node:
    """The node of a text: a number in words, a known phrase, or the words."""
    words = normal_text(text)
    meaning = MEANINGS.get(words)
    if meaning == "inf":
        return INFINITY
    if meaning == "empty":
        return EMPTY
    if meaning == "reals":
        return REALS
    if meaning is not None:
        return Node("text", (), meaning)
    value = number_words(words)
    if value is not None:
        return number(value)
    if words.startswith("negative ") and MEANINGS.get(words[9:]) == "inf":
        return negate(INFINITY)
    return Node("text", (), words)


# -- whole answers

_SPECIAL = re.compile(r"<\|[a-zA-Z_]{1,30}\|>|</s>|<eos>|<\|end▁of▁sentence\|>|\[/?INST\]")
_TEXT_WHOLE = re.compile(
    r"\\(?:text|textbf|mathrm|mbox|textrm|textnormal|mathbf|textit|mathit|mathsf|operatorname)\s*\{([^{}]*)\}"
)
_CHOICE = re.compile(r"(?:option |choice |answer )?[(\[]?\s*([A-Ja-j])\s*[)\]]?\s*[.:)]?", re.IGNORECASE)
_CHOICE_TEXT = re.compile(r"(?:\(([A-J])\)|([A-J])[.):]|([A-J])(?=\s+[A-Z][a-z]))\s*(\S.{0,300})", re.DOTALL)
_TIME = re.compile(r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*(?:([aApP])\.?\s*[mM]\.?)?")
_BASE = re.compile(
    r"[({]*\s*([0-9A-Za-z]{1,400})\s*[)}]*\s*(?:_\s*\{?\s*(?:\(\s*)?([0-9]{1,2}|[a-z]+)(?:\s*\))?\s*\}?|\s+(?:in )?base[- ](\d{1,2}|[a-z]+))"
)
_LABELLED = re.compile(r".*?(?:\bis|\bare|=|:)\s+(?=\S)", re.DOTALL)
_RATE = re.compile(r"(?<=\d) ?((?:k|c|m)?m|ft|mi|km|g|kg|L|mol|J)/(s|h|hr|min|L|m|mol|kg)(\^\{?\d\}?)?$")
_BASE_WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
               "eleven": 11, "twelve": 12, "sixteen": 16, "binary": 2, "hex": 16}  # fmt: skip


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
    cleaned = clean(stripped)
    if "/" in cleaned:
        cleaned = _RATE.sub(r" \\text{\1/\2}\3", cleaned)
    if cleaned.count("$") == 1 and len(cleaned) > 1 and cleaned.lstrip("-")[0] == "$":
        cleaned = cleaned.replace("$", "\\$")
    tokens = tokenize(cleaned)
    try:
        return AnswerParser(tokens).answer()
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
    based = _BASE.fullmatch(plain)
    if based:
        return _base_node(based)
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


def tokens_of(text: str) -> list[Token]:
    """For the curious and for tests: the tokens of an answer."""
    return tokenize(clean(strip_wrappers(text)))
