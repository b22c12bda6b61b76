"""Numbers, letters, functions and the arguments of LaTeX commands."""

from __future__ import annotations

from fractions import Fraction

from rlvr.verifiers.math.brackets import BracketParser
from rlvr.verifiers.math.functions import FUNCTION_LETTERS, FUNCTIONS, INVERSES, SEVERAL_ARGUMENTS
from rlvr.verifiers.math.lexer import Token, UnreadableError
from rlvr.verifiers.math.tree import (
    INFINITY,
    MINUS_ONE,
    PI,
    REALS,
    Node,
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
_NOT_PRODUCTS = frozenset(
    str.split("and or the is are of for to not if with all any no than per but from an at by in on it so")
)


class NameParser(BracketParser):
    """Reads literals, letters with their subscripts, and functions with or without brackets."""

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

    def word(self, token: Token) -> Node:
        """A letter, a function's name, or a short product of letters such as `xy`."""
        value = token.value
        if len(value) == 1:
            return self.name(value)
        if self.in_integral and value[0] == "d" and len(value) == 2:  # the letter of an integral inside its fraction
            self.differential = value[1]
            return number(1)
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
        if self.is_sign("{") and self.ahead().value == "(" and stem in FUNCTION_LETTERS:  # as sympy prints f(x)
            self.at += 1
            arguments = self.arguments()
            self.expect("}")
            return call(name, *arguments)
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
        if name == "binom" and len(arguments) != 2:
            raise UnreadableError("a binomial of other than two numbers")
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
        token = self.token
        if token.kind == "n":  # \sqrt10 means the root of ten to whoever writes it, whatever TeX prints
            radicand: Node = number(Fraction(token.value))
            self.at += 1
        else:
            radicand = self.argument()
        return power(radicand, divide(number(1), degree))
