"""A recursive-descent parser for sums, products, powers, functions and what stands between brackets.

Whatever it cannot read raises UnreadableError, and so does nesting deeper than MAX_DEPTH. It never looks back more than a
token, so its cost is linear in the number of tokens.
"""

from __future__ import annotations

from fractions import Fraction

from rlvr.verifiers.math.functions import (
    FUNCTION_LETTERS,
    FUNCTIONS,
    GREEK,
    GREEK_VARIANTS,
    INVERSES,
    SEVERAL_ARGUMENTS,
)
from rlvr.verifiers.math.lexer import Token, UnreadableError
from rlvr.verifiers.math.tree import (
    EMPTY,
    INFINITY,
    MINUS_ONE,
    PI,
    REALS,
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

MAX_DEPTH = 40
_FRACTION_COMMANDS = frozenset({"frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"})
_TIMES = frozenset({"times", "cdot", "ast", "star", "bullet"})
_OPENERS = frozenset({"(", "[", "{", "\\{", "|", "\\|"})
_COMMAND_OPENERS = {"lbrace": "\\}", "lbrack": "]", "lparen": ")", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil",
                    "lvert": "rvert", "lVert": "rVert", "vert": "vert", "Vert": "Vert"}  # fmt: skip
_DOTS = frozenset({"ldots", "dots", "cdots", "dotsc", "dotsb", "vdots"})
_STOP_COMMANDS = frozenset({"choose", "rbrace", "rbrack", "rangle", "rfloor", "rceil", "rvert", "rVert"})
_ACCENTS = frozenset({"vec", "hat", "bar", "tilde", "overrightarrow", "dot", "ddot", "widehat", "widetilde", "overline", "mathcal",
                      "mathbb", "mathscr", "mathfrak", "boxed", "fbox", "mathring"})  # fmt: skip
_NOT_PRODUCTS = frozenset(
    str.split("and or the is are of for to not if with all any no than per but from an at by in on it so")
)


class ExpressionParser:
    """Reads one expression from tokens. The brackets' contents are read by `listing`, which the subclass brings."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.in_builder = False
        self.in_integral = 0

    def listing(self) -> Node:
        raise NotImplementedError

    # -- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def ahead(self, distance: int = 1) -> Token:
        return self.tokens[min(self.at + distance, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.tokens[self.at]
        if token.kind == "end":
            raise UnreadableError("the answer ends too early")
        self.at += 1
        return token

    def is_sign(self, value: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "s" and token.value == value

    def is_command(self, value: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "c" and token.value == value

    def accept(self, value: str) -> bool:
        if self.is_sign(value):
            self.at += 1
            return True
        return False

    def expect(self, value: str) -> None:
        token = self.take()
        if token.value != value or token.kind not in "sc":
            raise UnreadableError(f"expected {value}")

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")

    # -- sums and products

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
        if token.kind == "s" and token.value == "{" and self.ahead().value.strip() in ("th", "st", "nd", "rd"):
            self.at += 3
            return base
        if token.kind in "tw" and token.value.strip() in ("th", "st", "nd", "rd"):
            self.at += 1
            return base
        if token.kind == "s" and token.value in ("+", "-", "*") and not self.starts_after(1):
            self.at += 1
            return call("mark" + token.value, base)
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

    # -- primaries

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

    def literal(self, token: Token) -> Node:
        """A number, with an exponent, a repeating part or a fraction behind it where there is one."""
        text = token.value
        digits = len(text) - text.index(".") - 1 if "." in text else -1
        value = Fraction(int(text)) if digits < 0 else Fraction(int(text.replace(".", "")), 10**digits)
        following = self.token
        if following.kind == "end":
            return number(value, digits)
        if following.kind == "w" and following.value in ("e", "E") and not following.spaced:
            after = self.ahead()
            signed = after.kind == "s" and after.value in ("-", "+")
            power_token = self.ahead(2) if signed else after
            if (
                power_token.kind == "n"
                and power_token.value.isdigit()
                and not power_token.spaced
                and len(power_token.value) < 18
            ):
                self.at += 3 if signed else 2
                exponent = int(power_token.value) * (-1 if signed and after.value == "-" else 1)
                if abs(exponent) < 400:
                    shown = max(digits - exponent, -1) if digits >= 0 else -1
                    return number(value * Fraction(10) ** exponent, shown)
                return multiply(number(value), power(number(10), number(exponent)))
        if (
            following.kind == "c"
            and following.value in ("overline", "bar", "dot")
            and not following.spaced
            and digits >= 0
        ):
            return self.repeating(value, digits)
        if following.value == "." and self.ahead().value in ("overline", "bar", "dot") and digits < 0:
            self.at += 1
            return self.repeating(value, 0)
        if digits < 0:
            return self.mixed(value, following)
        return number(value, digits)

    def repeating(self, value: Fraction, digits: int) -> Node:
        self.at += 1
        self.expect("{")
        block = self.take()
        if block.kind != "n" or not block.value.isdigit():
            raise UnreadableError("a repeating part that is no number")
        self.expect("}")
        scale = Fraction(10) ** digits
        return number(value + Fraction(int(block.value), 10 ** len(block.value) - 1) / scale)

    def mixed(self, whole: Fraction, following: Token) -> Node:
        """`2\\frac{1}{2}` and `2 1/2` are two and a half."""
        if following.kind == "c" and following.value in _FRACTION_COMMANDS:
            start = self.at
            self.at += 1
            top, bottom = self.digits_argument(), self.digits_argument()
            if top is not None and bottom is not None and 0 < top < bottom:
                return number(whole + Fraction(top, bottom))
            self.at = start
        elif following.kind == "n" and following.spaced and self.ahead().value == "/" and self.ahead(2).kind == "n":
            top_text, bottom_text = following.value, self.ahead(2).value
            if top_text.isdigit() and bottom_text.isdigit() and 0 < int(top_text) < int(bottom_text):
                self.at += 3
                return number(whole + Fraction(int(top_text), int(bottom_text)))
        return number(whole)

    def digits_argument(self) -> int | None:
        """A macro's argument if it is a plain integer."""
        token = self.token
        if token.kind == "s" and token.value == "{":
            inner = self.ahead()
            if inner.kind == "n" and inner.value.isdigit() and self.ahead(2).value == "}":
                self.at += 3
                return int(inner.value)
            return None
        if token.kind == "n" and token.value.isdigit():
            self.at += 1
            if len(token.value) == 1:
                return int(token.value)
            self.at -= 1
            self.tokens[self.at : self.at + 1] = [
                Token("n", digit, token.spaced and i == 0) for i, digit in enumerate(token.value)
            ]
            self.at += 1
            return int(token.value[0])
        return None

    def argument(self) -> Node:
        """A macro's argument: a group, or one digit, letter or command."""
        token = self.token
        if token.kind == "n" and len(token.value) > 1 and token.value.isdigit():
            self.tokens[self.at : self.at + 1] = [
                Token("n", digit, token.spaced and i == 0) for i, digit in enumerate(token.value)
            ]
        elif token.kind == "w" and len(token.value) > 1:
            self.tokens[self.at : self.at + 1] = [
                Token("w", letter, token.spaced and i == 0) for i, letter in enumerate(token.value)
            ]
        token = self.token
        if token.kind == "n":
            self.at += 1
            return number(Fraction(token.value))
        if token.kind == "s" and token.value == "-":
            self.at += 1
            return negate(self.primary())
        return self.primary()

    def word(self, token: Token) -> Node:
        """A letter, a function's name, or a short product of letters such as `xy`."""
        value = token.value
        if len(value) == 1:
            return self.name(value)
        if value in FUNCTIONS:
            return self.function(FUNCTIONS[value])
        lowered = value.lower()
        if lowered in ("pi", "infinity", "inf", "oo"):
            return PI if lowered == "pi" else INFINITY
        if value in ("theta", "alpha", "beta", "gamma", "lambda", "phi", "sigma", "omega", "mu", "rho"):
            return self.name(value)
        if (
            lowered in _NOT_PRODUCTS
            or lowered in SCALES
            or len(value) > 4
            or (value.lower() in UNITS and len(value) > 2)
        ):
            raise UnreadableError(f"the word {value!r}")
        # Letter by letter, so that an exponent belongs to the last one: xy^2 is x (y^2).
        self.tokens[self.at - 1 : self.at] = [
            Token("w", letter, token.spaced and i == 0) for i, letter in enumerate(value)
        ]
        return self.name(value[0])

    def name(self, name: str) -> Node:
        """A letter with its subscript, applied to what follows in brackets if it names a function."""
        if self.is_sign("_"):
            self.at += 1
            name += "_" + self.subscript()
        return self.applied(symbol(name))

    def applied(self, node: Node) -> Node:
        name = node.text
        if (
            (
                self.is_sign("^")
                and self.ahead().value == "{"
                and self.ahead(2).value == "-"
                and self.ahead(3).value == "1"
            )
            and name in FUNCTION_LETTERS
            and self.ahead(4).value == "}"
            and self.ahead(5).value == "("
        ):
            self.at += 5
            return call(name + "^-1", *self.arguments())
        token = self.token
        stem = name.rstrip("'").split("_")[0]
        if token.kind != "s" or token.value != "(" or (token.spaced and stem not in ("Phi", "Psi")):
            return node
        if (
            stem in FUNCTION_LETTERS
            or name.endswith("'")
            or (len(stem) == 1 and stem.isalpha() and self.plain_argument(stem))
        ):
            return call(name, *self.arguments())
        return node

    def plain_argument(self, stem: str) -> bool:
        """Capital letters and sequence names are functions of a single letter or number: P(x), T(10), a(n)."""
        inner, close = self.ahead(), self.ahead(2)
        if close.value != ")" or not (stem.isupper() or self.ahead(3).value == "="):
            return False
        return inner.kind == "n" or (inner.kind == "w" and len(inner.value) == 1)

    def arguments(self) -> tuple[Node, ...]:
        self.expect("(")
        inner = self.inside(")")
        return inner.args if inner.kind == "list" else (inner,)

    def subscript(self) -> str:
        """The subscript as text: its tokens without brackets and blanks."""
        token = self.take()
        if token.kind != "s" or token.value != "{":
            if token.kind == "n" and len(token.value) > 1 and token.value.isdigit():
                return token.value
            return token.value
        parts: list[str] = []
        depth = 1
        while True:
            token = self.take()
            if token.value == "{" and token.kind == "s":
                depth += 1
            elif token.value == "}" and token.kind == "s":
                depth -= 1
                if depth == 0:
                    return "".join(parts)
            else:
                parts.append(token.value.replace(" ", ""))

    def function(self, name: str) -> Node:
        """A known function and its argument, with or without brackets."""
        base: Node | None = None
        exponent: Node | None = None
        for _ in range(2):
            if self.is_sign("_") and base is None and name in ("log", "max", "min"):
                self.at += 1
                base = self.argument()
            elif self.is_sign("^") and exponent is None:
                self.at += 1
                exponent = self.exponent()
        arguments = self.function_arguments(name)
        if exponent is not None and exponent == MINUS_ONE and name in INVERSES:
            return call(INVERSES[name], *arguments)
        node = self.apply(name, arguments, base)
        return node if exponent is None else power(node, exponent)

    def apply(self, name: str, arguments: tuple[Node, ...], base: Node | None) -> Node:
        first = arguments[0]
        if name == "sqrt":
            return power(first, number(Fraction(1, 2)))
        if name == "cbrt":
            return power(first, number(Fraction(1, 3)))
        if name == "exp":
            return power(symbol("e"), first)
        if name == "lg":
            return divide(call("ln", first), call("ln", number(10)))
        if name == "log" and base is not None:
            return divide(call("ln", first), call("ln", base))
        if name == "log" and len(arguments) == 2:
            return divide(call("ln", first), call("ln", arguments[1]))
        return call(name, *arguments)

    def function_arguments(self, name: str) -> tuple[Node, ...]:
        if (
            self.is_sign("(")
            or self.is_sign("{")
            or self.is_sign("\\{")
            or self.is_command("lbrack")
            or self.is_sign("[")
        ):
            opener = self.take().value
            if opener == "(" or (opener == "\\{" and name in SEVERAL_ARGUMENTS):
                inner = self.inside(")" if opener == "(" else "\\}")
                return inner.args if inner.kind == "list" else (inner,)
            inner = self.bracket("[" if opener == "lbrack" else opener)
            if inner.kind in ("tuple", "set", "list") and name in SEVERAL_ARGUMENTS:
                return inner.args
            return (inner,)
        negative = self.accept("-")
        node = self.power_()
        while (
            self.starts_factor(self.token) and not self.is_function(self.token) and self.token.value not in ("(", "[")
        ):
            node = multiply(node, self.power_())
        return (negate(node) if negative else node,)

    def is_function(self, token: Token) -> bool:
        return token.kind in "cw" and token.value in FUNCTIONS and token.value != "sqrt"

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

    def accented(self, accent: str) -> Node:
        inner = self.argument()
        if accent == "mathbb" and inner == symbol("R"):
            return REALS
        if accent in ("boxed", "fbox"):
            return inner
        if inner.kind == "sym":
            if accent == "mathbb":
                return symbol("set_" + inner.text)
            return self.name(inner.text if accent in ("mathcal", "mathscr", "mathfrak") else f"{accent}_{inner.text}")
        return call(accent, inner)

    def root(self) -> Node:
        degree: Node = number(2)
        if self.is_sign("["):
            self.at += 1
            degree = self.additive()
            self.expect("]")
        radicand = self.argument()
        return power(radicand, divide(number(1), degree))

    # -- brackets

    def inside(self, closer: str) -> Node:
        """What stands up to this closer, as a list or a single node."""
        self.enter()
        bars, self.bars = self.bars, 0
        builder, self.in_builder = self.in_builder, False
        node = self.listing()
        self.bars, self.in_builder = bars, builder
        self.expect(closer)
        self.depth -= 1
        return node

    def bracket(self, opener: str) -> Node:
        if opener in ("|", "\\|"):
            return self.absolute(opener, opener)
        if opener == "{":
            if self.accept("}"):
                raise UnreadableError("an empty group")
            return self.braces_group()
        if opener == "\\{":
            return self.set_literal("\\}")
        if self.is_sign(")") or self.is_sign("]"):
            raise UnreadableError("empty brackets")
        self.enter()
        bars, self.bars = self.bars, 0
        builder, self.in_builder = self.in_builder, False
        node = self.listing()
        self.bars, self.in_builder = bars, builder
        closer = self.take().value
        if closer == "rbrack":
            closer = "]"
        if closer not in (")", "]"):
            raise UnreadableError(f"expected a bracket, not {closer!r}")
        self.depth -= 1
        if node.kind == "list" and node.value in (",", ";"):
            items: list[Node] = []
            for item in node.args:
                items.extend(item.args if node.value == ";" and item.kind == "list" else (item,))
            return Node("tuple", tuple(items), opener + closer)
        if opener == "(" and closer == ")":
            return node
        if opener == "[" and closer == "]":
            return node
        raise UnreadableError("an interval of one end")

    def braces_group(self) -> Node:
        self.enter()
        bars, self.bars = self.bars, 0
        builder, self.in_builder = self.in_builder, False
        node = self.listing()
        if self.is_command("choose"):
            self.at += 1
            node = call("binom", node, self.listing())
        self.bars, self.in_builder = bars, builder
        self.expect("}")
        self.depth -= 1
        return node

    def set_literal(self, closer: str) -> Node:
        if self.token.value == closer:
            self.at += 1
            return EMPTY
        self.enter()
        bars, self.bars = self.bars, 0
        builder, self.in_builder = self.in_builder, True
        node = self.listing()
        if self.is_sign("|") or self.is_sign(":") or self.is_command("mid") or self.is_command("vert"):
            self.at += 1
            self.in_builder = False
            node = Node("builder", (node, self.listing()))
        elif node.kind == "ratio" and len(node.args) == 2 and node.args[1].kind == "rel":
            node = Node("builder", node.args)
        elif node.kind == "list":
            node = Node("set", node.args)
        else:
            node = Node("set", (node,))
        self.bars, self.in_builder = bars, builder
        self.expect(closer)
        self.depth -= 1
        return node

    def absolute(self, opener: str, closer: str) -> Node:
        self.enter()
        self.bars += 1
        node = self.additive()
        self.bars -= 1
        self.expect(closer)
        self.depth -= 1
        return call("norm" if opener in ("\\|", "lVert", "Vert") else "abs", node)

    def command_bracket(self, opener: str) -> Node:
        if opener in ("lvert", "lVert", "vert", "Vert"):
            return self.absolute(opener, _COMMAND_OPENERS[opener])
        if opener == "lbrack":
            return self.bracket("[")
        if opener == "lbrace":
            return self.set_literal("rbrace")
        inner = self.inside(_COMMAND_OPENERS[opener])
        if opener in ("lfloor", "lceil"):
            return call("floor" if opener == "lfloor" else "ceil", inner)
        return Node("tuple", inner.args if inner.kind == "list" else (inner,), "()")

    # -- sums, products, integrals, limits, matrices

    def big(self, name: str) -> Node:
        lower: Node | None = None
        upper: Node | None = None
        for _ in range(2):
            if self.is_sign("_"):
                self.at += 1
                lower = self.group_listing()
            elif self.is_sign("^"):
                self.at += 1
                upper = self.exponent()
        if name in ("int", "iint", "oint"):
            return self.integral(lower, upper)
        if lower is None or lower.kind != "rel":
            raise UnreadableError(f"{name} without its letter")
        variable, start = lower.args[0], lower.args[-1]
        body = self.term()
        if variable.kind != "sym":
            raise UnreadableError(f"{name} over something else than a letter")
        if name == "lim":
            return Node("big", (body, variable, start), "lim")
        if upper is None:
            return Node("big", (body, variable, lower), name)
        return Node("big", (body, variable, start, upper), name)

    def group_listing(self) -> Node:
        if not self.accept("{"):
            return self.argument()
        return self.inside("}")

    def integral(self, lower: Node | None, upper: Node | None) -> Node:
        self.in_integral += 1
        body = number(1) if self.is_differential() else self.additive()
        self.in_integral -= 1
        if not self.is_differential():
            if body.kind == "mul" and body.args[0].kind == "sym" and body.args[0].value == "d":
                raise UnreadableError("an integral without its letter")
            raise UnreadableError("an integral without its letter")
        token = self.take()
        variable = symbol(token.value[1]) if len(token.value) == 2 else self.argument()
        if lower is not None and upper is not None:
            return Node("big", (body, variable, lower, upper), "int")
        return Node("big", (body, variable), "int")

    def is_differential(self) -> bool:
        token = self.token
        return token.kind == "w" and token.value[0] == "d" and len(token.value) <= 2

    def environment(self) -> Node:
        name = self.environment_name()
        if name in ("array", "tabular") and self.is_sign("{"):
            self.at += 1
            while not self.accept("}"):
                self.take()
        rows: list[Node] = []
        cells: list[Node] = []
        self.enter()
        while not self.is_command("end"):
            if self.is_command("hline"):
                self.at += 1
                continue
            cells.append(self.listing())
            if self.accept("&"):
                continue
            if self.is_sign("\\\\") or self.is_command("cr"):
                self.at += 1
            elif not self.is_command("end"):
                raise UnreadableError("a cell that does not end")
            rows.append(Node("tuple", tuple(cells), "()"))
            cells = []
        if cells:
            raise UnreadableError("a row that ends too early")
        self.at += 1
        if self.environment_name() != name or not rows:
            raise UnreadableError("an environment that does not close")
        self.depth -= 1
        if name in ("cases", "aligned", "align", "gathered", "split", "rcases"):
            if name == "cases" and all(len(row.args) == 2 for row in rows):
                return Node("matrix", tuple(rows), "cases")
            return Node("list", tuple(row.args[0] for row in rows if row.args), "and")
        matrix = Node("matrix", tuple(rows))
        return call("det", matrix) if name == "vmatrix" else matrix

    def environment_name(self) -> str:
        self.expect("{")
        token = self.take()
        if self.is_sign("*"):
            self.at += 1
        self.expect("}")
        return token.value
