"""A recursive-descent parser for sums, products, powers, and the postfix signs.

Whatever it cannot read raises UnreadableError, and so does nesting deeper than the cursor allows. It never looks back more than
a token, so its cost is linear in the number of tokens.
"""

from __future__ import annotations

from rlvr.verifiers.math.functions import FUNCTIONS, GREEK, GREEK_VARIANTS
from rlvr.verifiers.math.lexer import Token, UnreadableError
from rlvr.verifiers.math.names import NameParser
from rlvr.verifiers.math.tree import (
    EMPTY,
    INFINITY,
    PI,
    ZERO,
    Node,
    add,
    call,
    divide,
    multiply,
    negate,
    number,
    power,
    symbol,
)
from rlvr.verifiers.math.words import SCALES, UNITS

_FRACTION_COMMANDS = frozenset({"frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"})
_TIMES = frozenset({"times", "cdot", "ast", "star", "bullet"})
_OPENERS = frozenset({"(", "[", "{", "\\{", "|", "\\|"})
_COMMAND_OPENERS = {"lbrace": "\\}", "lbrack": "]", "lparen": ")", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil",
                    "lvert": "rvert", "lVert": "rVert", "vert": "vert", "Vert": "Vert"}  # fmt: skip
_DOTS = frozenset({"ldots", "dots", "cdots", "dotsc", "dotsb", "vdots"})
_ACCENTS = frozenset(
    str.split(
        "vec hat bar tilde overrightarrow dot ddot widehat widetilde overline mathcal mathbb mathscr mathfrak boxed fbox mathring"
    )
)
_NOT_PRODUCTS = frozenset(
    str.split("and or the is are of for to not if with all any no than per but from an at by in on it so")
)


class ExpressionParser(NameParser):
    """Reads one expression. What brackets hold is read by `listing`, which the subclass brings."""

    def additive(self) -> Node:
        """Terms joined by plus, minus and plus-minus."""
        self.enter()
        left = self.signed_term()
        while True:
            token = self.token
            if token.kind == "s" and token.value == "+":
                self.at += 1
                left = add(left, self.term())
            elif token.kind == "s" and token.value == "-":
                self.at += 1
                left = add(left, negate(self.term()))
            elif token.kind == "c" and token.value in ("pm", "mp"):
                self.at += 1
                left = Node("pm", (left, self.term()), "+" if token.value == "pm" else "-")
            elif token.kind == "s" and token.value == "+-":
                raise UnreadableError("+-")
            else:
                break
        self.depth -= 1
        return left

    def signed_term(self) -> Node:
        token = self.token
        if token.kind == "s" and token.value == "-":
            self.at += 1
            return negate(self.signed_term_checked())
        if token.kind == "s" and token.value == "+":
            self.at += 1
            if self.is_sign("/") and self.ahead().value == "-":  # +/-
                self.at += 2
                return Node("pm", (ZERO, self.term()), "+")
            if self.is_sign("-"):
                raise UnreadableError("+-")
            return self.signed_term_checked()
        if token.kind == "c" and token.value in ("pm", "mp"):
            self.at += 1
            return Node("pm", (ZERO, self.term()), "+" if token.value == "pm" else "-")
        return self.term()

    def signed_term_checked(self) -> Node:
        self.enter()
        node = self.signed_term()
        self.depth -= 1
        return node

    def term(self) -> Node:
        """Factors joined by times, division or nothing."""
        left = self.factor()
        while True:
            token = self.token
            if token.kind == "s":
                if token.value == "*":
                    self.at += 1
                    left = multiply(left, self.factor())
                    continue
                if token.value == "/":
                    self.at += 1
                    left = divide(left, self.factor())
                    continue
            elif token.kind == "c":
                if token.value in _TIMES:
                    self.at += 1
                    left = multiply(left, self.factor())
                    continue
                if token.value == "div":
                    self.at += 1
                    left = divide(left, self.factor())
                    continue
            if not self.starts_factor(token):
                return left
            left = multiply(left, self.power_())

    def starts_factor(self, token: Token) -> bool:
        """Whether this token begins a factor that is multiplied without a sign."""
        kind, value = token.kind, token.value
        if kind == "w":
            return not self.stops_product(token)
        if kind == "n":
            previous = self.tokens[self.at - 1]
            return (previous.kind in "sc" and previous.value not in _DOTS) or previous.kind == "w"
        if kind == "s":
            if value in ("(", "[", "{", "\\{"):
                return True
            if value == "|":
                return self.bars == 0 and not self.in_builder
            return value == "\\|" and self.bars == 0
        if kind == "c":
            if value in ("vert", "Vert"):
                return self.bars == 0
            return (
                value in _COMMAND_OPENERS
                or value in FUNCTIONS
                or value in GREEK
                or value in GREEK_VARIANTS
                or value in _FRACTION_COMMANDS
                or value in _ACCENTS
                or value
                in ("pi", "sqrt", "binom", "dbinom", "tbinom", "infty", "sum", "prod", "int", "lim", "begin", "surd")
            )
        return False

    def stops_product(self, token: Token) -> bool:
        value = token.value
        if len(value) == 1:
            if value in "UV" and self.tokens[self.at - 1].value in (")", "]", "\\}"):
                return True
            return self.in_integral > 0 and value == "d"
        if value in FUNCTIONS or value in ("pi", "dots"):
            return False
        if self.in_integral and value[0] == "d" and len(value) <= 2:
            return True
        return (
            value in UNITS
            or (len(value) > 2 and value.lower() in UNITS)
            or value.lower() in _NOT_PRODUCTS
            or len(value) > 4
            or value.lower() in SCALES
        )

    def factor(self) -> Node:
        """A power with signs before it, as in `2 * -3`."""
        sign = 1
        while self.token.kind == "s" and self.token.value in ("-", "+"):
            sign = -sign if self.take().value == "-" else sign
        node = self.power_()
        return negate(node) if sign < 0 else node

    def power_(self) -> Node:
        """A primary with what follows it: factorial, percent, degree, exponent."""
        self.enter()
        base = self.postfix(self.primary())
        while True:
            if self.is_sign("^") or self.is_sign("**"):
                self.at += 1
                base = self.postfix(self.raise_to(base))
                base = self.late_subscript(base)
            else:
                break
        self.depth -= 1
        return base

    def raise_to(self, base: Node) -> Node:
        token = self.token
        if token.kind == "c" and token.value in ("circ", "degree"):
            self.at += 1
            return Node("deg", (base,))
        if token.kind == "c" and token.value == "prime":
            self.at += 1
            return symbol(base.text + "'") if base.kind == "sym" else call("prime", base)
        if (
            token.kind == "s"
            and token.value == "{"
            and self.ahead().value in ("circ", "degree")
            and self.ahead(2).value == "}"
        ):
            self.at += 3
            return Node("deg", (base,))
        if (
            token.kind == "s"
            and token.value == "{"
            and self.ahead().value in ("prime", "'")
            and self.ahead(2).value == "}"
        ):
            self.at += 3
            return symbol(base.text + "'") if base.kind == "sym" else call("prime", base)
        if (
            token.kind == "s"
            and token.value == "{"
            and self.ahead().value.strip() in ("th", "st", "nd", "rd")
            and self.ahead(2).value == "}"
        ):
            self.at += 3
            return base
        if token.kind in "tw" and token.value.strip() in ("th", "st", "nd", "rd"):
            self.at += 1
            return base
        if token.kind == "s" and token.value in ("+", "-", "*") and not self.starts_after(1):
            self.at += 1
            return call("mark" + token.value, base)
        if (
            token.kind == "s"
            and token.value == "{"
            and self.ahead().value in ("+", "-", "*")
            and self.ahead(2).value == "}"
        ):
            mark = self.ahead().value
            self.at += 3
            return call("mark" + mark, base)
        return self.power_of(base, self.exponent())

    def late_subscript(self, node: Node) -> Node:
        """`v^2_0` is `v_0^2`."""
        if node.kind == "pow" and node.args[0].kind == "sym" and self.is_sign("_"):
            self.at += 1
            return power(symbol(node.args[0].text + "_" + self.subscript()), node.args[1])
        return node

    def starts_after(self, distance: int) -> bool:
        token = self.ahead(distance)
        return token.kind in "nwc" or (token.kind == "s" and token.value in ("(", "{", "|"))

    def power_of(self, base: Node, exponent: Node) -> Node:
        if base.kind in ("deg", "percent", "unit", "matrix", "tuple", "set", "list", "rel"):
            if base.kind == "matrix" and exponent.kind == "num":
                return power(base, exponent)
            if base.kind != "tuple":
                raise UnreadableError(f"a power of a {base.kind}")
        return power(base, exponent)

    def exponent(self) -> Node:
        """What follows `^`: a group, or a signed primary, with the next `^` bound to it (towers are right-associative)."""
        self.enter()
        sign = 1
        while self.token.kind == "s" and self.token.value in ("-", "+"):
            sign = -sign if self.take().value == "-" else sign
        node = self.primary()
        if self.is_sign("^") or self.is_sign("**"):
            self.at += 1
            node = self.raise_to(node)
        while self.is_sign("!"):
            self.at += 1
            node = call("factorial", node)
        self.depth -= 1
        return negate(node) if sign < 0 else node

    def postfix(self, node: Node) -> Node:
        while True:
            token = self.token
            if token.kind == "s" and token.value == "!":
                self.at += 1
                node = call("factorial2" if self.accept("!") else "factorial", node)
            elif (
                (token.kind == "s" and token.value in ("\\%", "%"))
                or (token.kind == "w" and token.value in ("percent", "pct") and node.kind == "num")
                or (token.kind == "t" and token.value.lower() in ("percent", "pct") and node.kind == "num")
            ):
                self.at += 1
                node = Node("percent", (node,))
            elif token.kind == "s" and token.value == "'" and node.kind == "sym":
                self.at += 1
                node = self.applied(symbol(node.text + "'"))
            elif (token.kind == "c" and token.value in ("degree", "circ")) or (
                token.kind == "w" and token.value in ("degrees",)
            ):
                self.at += 1
                node = Node("deg", (node,))
            elif (
                token.kind == "w"
                and node.kind == "num"
                and token.value in ("th", "st", "nd", "rd")
                and not token.spaced
            ):
                self.at += 1
            elif token.kind in "wt" and node.kind == "num" and token.value.lower() in SCALES:
                self.at += 1
                node = number(node.number * SCALES[token.value.lower()])
            else:
                return node

    def primary(self) -> Node:
        """A number, letter, function, fraction, root, or anything in brackets."""
        self.enter()
        token = self.take()
        if token.kind == "n":
            node = self.literal(token)
        elif token.kind == "w":
            node = self.word(token)
        elif token.kind == "c":
            node = self.command(token)
        elif token.kind == "s" and token.value in _OPENERS:
            node = self.bracket(token.value)
        elif token.kind == "s" and token.value == "." and self.is_sign(".") and self.ahead().value == ".":
            self.at += 2
            node = symbol("dots")
        elif token.kind == "s" and token.value == "\\$":
            node = Node("unit", (self.factor(),), "usd")
        else:
            raise UnreadableError(f"unexpected {token.value!r}")
        self.depth -= 1
        return node

    def command(self, token: Token) -> Node:
        value = token.value
        if value in _FRACTION_COMMANDS:
            top = self.argument()
            return divide(top, self.argument())
        if value in ("sqrt", "surd"):
            return self.root()
        if value == "pi":
            return PI
        if value in ("binom", "dbinom", "tbinom"):
            upper = self.argument()
            return call("binom", upper, self.argument())
        if value in ("infty", "infinity"):
            return INFINITY
        if value in ("emptyset", "varnothing", "O"):
            return EMPTY
        if value in FUNCTIONS:
            return self.function(FUNCTIONS[value])
        if value in GREEK or value in GREEK_VARIANTS:
            return self.name(GREEK_VARIANTS.get(value, value))
        if value in _DOTS:
            return symbol("dots")
        if value in ("arccosh", "arcsinh", "arctanh"):
            return self.function(FUNCTIONS[value])
        if value in _COMMAND_OPENERS:
            return self.command_bracket(value)
        if value in ("sum", "prod", "int", "lim", "iint", "oint"):
            return self.big(value)
        if value == "begin":
            return self.environment()
        if value in ("Bbb",):
            value = "mathbb"
        if value in _ACCENTS:
            return self.accented(value)
        if value == "mathrm":
            return self.argument()
        raise UnreadableError(f"the command {value!r}")
