"""The functions and letters that have a meaning, under one name each."""

from __future__ import annotations

_ALIASES = {
    "sin": "sin", "cos": "cos", "tan": "tan tg", "cot": "cot ctg cotan", "sec": "sec", "csc": "csc cosec",
    "asin": "arcsin asin", "acos": "arccos acos", "atan": "arctan atan arctg", "acot": "arccot acot arcctg",
    "asec": "arcsec asec", "acsc": "arccsc acsc", "sinh": "sinh sh", "cosh": "cosh ch", "tanh": "tanh th", "coth": "coth",
    "sech": "sech", "csch": "csch", "asinh": "arsinh arcsinh asinh", "acosh": "arcosh arccosh acosh",
    "atanh": "artanh arctanh atanh", "log": "log", "ln": "ln", "lg": "lg", "exp": "exp", "gcd": "gcd", "lcm": "lcm",
    "max": "max", "min": "min", "floor": "floor", "ceil": "ceil ceiling", "abs": "abs", "det": "det", "sgn": "sgn sign",
    "re": "Re", "im": "Im", "sqrt": "sqrt", "cbrt": "cbrt", "arg": "arg", "phi": "totient", "binom": "binom",
}  # fmt: skip
FUNCTIONS = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
INVERSES = {name: "a" + name for name in str.split("sin cos tan cot sec csc sinh cosh tanh")}
SEVERAL_ARGUMENTS = frozenset({"gcd", "lcm", "max", "min", "binom"})

GREEK = frozenset(
    str.split(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron rho sigma tau upsilon phi chi psi omega"
        " Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar nabla partial aleph imath jmath Re Im"
        " triangle angle square"
    )
)
GREEK_VARIANTS = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varrho": "rho", "varsigma": "sigma",
                  "varpi": "varpi", "ell": "ell"}  # fmt: skip
# Letters that name a function when brackets follow; any other letter is multiplied.
FUNCTION_LETTERS = frozenset(str.split("f g h F G Phi Psi phi psi"))
RELATIONS = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "le": "<=", "leq": "<=", "leqslant": "<=",
    "leqq": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "geqq": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=",
    "approx": "~", "simeq": "~", "approxeq": "~", "sim": "~", "doteq": "~", "in": "in", "equiv": "==", "cong": "==",
    "subset": "sub", "subseteq": "sub", "to": "->", "rightarrow": "->", "mapsto": "->", "longrightarrow": "->", "mid": "mid",
    "nmid": "nmid", "parallel": "parallel", "perp": "perp", "ll": "<<", "gg": ">>", "->": "->", "coloneqq": "=", "eq": "=",
    "notin": "notin", "propto": "propto", "Rightarrow": "=>", "implies": "=>", "=>": "=>", "iff": "<=>",
    "Leftrightarrow": "<=>", "cong ": "==", "doteqdot": "~", "thickapprox": "~",
}  # fmt: skip
