"""From the text of an answer to its tree: lists, relations, sets, units and words around expressions.

`parse` is total: what is no mathematics becomes a text, what breaks a budget an UnreadableError.
"""

from __future__ import annotations

from rlvr.verifiers.math.expressions import ExpressionParser
from rlvr.verifiers.math.functions import FUNCTIONS, RELATIONS
from rlvr.verifiers.math.lexer import UnreadableError
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


class AnswerParser(ExpressionParser):
    """Reads a whole answer: items joined by commas, `and`, `or`, semicolons."""

    def answer(self) -> Node:
        self.declared: list[str] = []
        node = self.listing()
        if self.token.kind != "end":
            raise UnreadableError(f"unexpected {self.token.value!r}")
        if not self.declared:
            return node
        items = node.args if node.kind == "list" and node.value != ";" else (node,)
        sets = tuple(Node("rel", (symbol(letter), symbol("set")), "in") for letter in self.declared)
        return Node("list", (*items, *sets), node.text or ",")

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
                said = value.split()
                if not said or value.lower() in ("and", "or"):
                    return words
                if token.kind == "t" and said[0].lower() in _CLAUSE and not words:
                    return [said[0]]
                if token.kind == "w" and value.lower() in _CLAUSE:
                    return words or [value]
                words.extend(said)
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
        for index in range(self.at, len(self.tokens) - 2):
            letter, sign = self.tokens[index], self.tokens[index + 1]
            if letter.kind == "w" and len(letter.value) == 1 and sign.value == "in" and sign.kind == "c":
                self.declared.append(letter.value)
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
