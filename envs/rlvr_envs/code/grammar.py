"""Random small programs: a function `f` of whole numbers, a list and a text, from a typed grammar.

Every program ends: loops run over lists, texts or a bounded range. `statements` and `depth` bound its size; what a statement
may be grows with both. Everything is drawn from one `random.Random`.
"""

from __future__ import annotations

import random
from typing import Any, Literal

Kind = Literal["int", "list", "str"]
_LETTERS = "abcdeixyz"


class ProgramWriter:
    """Writes one program."""

    def __init__(self, rng: random.Random, *, statements: int, depth: int) -> None:
        self._rng = rng
        self._statements, self._depth = statements, depth
        self._variables: dict[Kind, list[str]] = {"int": [], "list": [], "str": []}
        self._lines: list[str] = []
        self._made = 0

    def write(self) -> tuple[str, list[Kind]]:
        """(source, kinds of the parameters)."""
        rng = self._rng
        kinds: list[Kind] = [rng.choice(("int", "list", "str"))]
        if self._statements > 2:
            kinds.append(rng.choice(("int", "list", "str")))
        names = []
        for kind in kinds:
            names.append(self._new(kind))
        for _ in range(self._statements):
            self._statement(1)
        used: list[tuple[Kind, str]] = [(kind, name) for kind in self._variables for name in self._variables[kind]]
        kind, last = used[-1] if rng.random() < 0.3 else max(used, key=lambda item: int(item[1][1:]))
        result = last if self._statements > 1 and rng.random() < 0.5 else self._expression(kind, self._depth)
        self._emit(1, f"return {result}")
        return f"def f({', '.join(names)}):\n" + "\n".join(self._lines) + "\n", kinds

    def _new(self, kind: Kind) -> str:
        name = f"{ {'int': 'n', 'list': 'v', 'str': 's'}[kind] }{self._made}"
        self._made += 1
        self._variables[kind].append(name)
        return name

    def _emit(self, indent: int, line: str) -> None:
        self._lines.append("    " * indent + line)

    def _statement(self, indent: int) -> None:
        choice = self._rng.random()
        if choice < 0.45 or indent > 2:
            self._assign(indent)
        elif choice < 0.7:
            self._loop(indent)
        else:
            self._branch(indent)

    def _assign(self, indent: int) -> None:
        rng = self._rng
        known: list[Kind] = [kind for kind in self._variables if self._variables[kind]]
        # Inside a branch only what exists outside of it too may be given a value.
        kind: Kind = rng.choice(known) if indent > 1 else rng.choice(("int", "int", "list", "str"))
        value = self._expression(kind, self._depth)
        old = indent > 1 or (kind in known and rng.random() < 0.4)
        name = rng.choice(self._variables[kind]) if old else self._new(kind)
        self._emit(indent, f"{name} = {value}")

    def _loop(self, indent: int) -> None:
        """A loop that gathers into a fresh variable."""
        rng = self._rng
        kind: Kind = rng.choice(("int", "int", "list", "str"))
        text = rng.random() < 0.4
        over = self._expression("str" if text else "list", 1)
        start = {"int": str(rng.randint(0, 3)), "list": "[]", "str": "''"}[kind]
        total = f"{ {'int': 'n', 'list': 'v', 'str': 's'}[kind] }{self._made}"
        self._made += 1
        self._emit(indent, f"{total} = {start}")
        self._emit(indent, f"for x in {over}:")
        inside = indent + 1
        item = "ord(x) % 7" if text else "x"
        if rng.random() < 0.5:
            self._emit(inside, f"if {self._condition(item)}:")
            inside += 1
        sums = (
            f"{total} += {item}",
            f"{total} = {total} * 2 % 97 + {item}",
            f"{total} -= {item} * {rng.randint(2, 4)}",
        )
        lists = (f"{total}.append({item} + {rng.randint(1, 5)})", f"{total}.insert(0, {item} * {rng.randint(2, 3)})")
        texts = (f"{total} += str({item} % 10)", f"{total} = str({item} % 10) + {total}")
        change = rng.choice({"int": sums, "list": lists, "str": texts}[kind])
        self._emit(inside, change)
        if indent == 1:
            self._variables[kind].append(total)

    def _branch(self, indent: int) -> None:
        self._emit(indent, f"if {self._condition(self._number())}:")
        self._statement(indent + 1)
        if self._rng.random() < 0.5:
            self._emit(indent, "else:")
            self._statement(indent + 1)

    def _number(self) -> str:
        """A number that depends on the arguments."""
        choices = [*self._variables["int"]]
        choices += [f"{function}({name})" for name in self._variables["list"] for function in ("len", "sum")]
        choices += [f"len({name})" for name in self._variables["str"]]
        return self._rng.choice(choices)

    def _condition(self, value: str) -> str:
        rng = self._rng
        return rng.choice(
            (
                f"{value} % {rng.randint(2, 4)} == {rng.randint(0, 1)}",
                f"{value} > {rng.randint(-3, 9)}",
                f"{value} <= {rng.randint(0, 12)}",
                f"{rng.randint(-4, 2)} < {value} < {rng.randint(4, 15)}",
            )
        )

    def _expression(self, kind: Kind, depth: int) -> str:
        rng = self._rng
        known = self._variables[kind]
        if depth <= 0 or (known and rng.random() < 0.2):
            if known:
                return rng.choice(known)
            return self._number() if kind == "int" and rng.random() < 0.6 else self._constant(kind)
        return {"int": self._int, "list": self._list, "str": self._str}[kind](depth - 1)

    def _constant(self, kind: Kind) -> str:
        rng = self._rng
        if kind == "int":
            return str(rng.randint(1, 12))
        if kind == "list":
            return repr([rng.randint(-5, 9) for _ in range(rng.randint(2, 4))])
        return repr("".join(rng.choice(_LETTERS) for _ in range(rng.randint(2, 4))))

    def _int(self, depth: int) -> str:
        rng = self._rng
        a, k = self._expression("int", depth), rng.randint(2, 7)
        choices = [
            f"({a} + {self._expression('int', depth)})",
            f"({a} - {self._expression('int', depth)})",
            f"({a} * {k})",
            f"({a} // {k})",
            f"({a} % {k})",
            f"abs({a} - {k})",
            f"max({a}, {self._expression('int', depth)})",
        ]
        for name in self._variables["list"]:
            choices += [f"len({name})", f"sum({name})", f"max({name}, default=0)"]
        if self._variables["str"]:
            choices.append(f"{rng.choice(self._variables['str'])}.count({rng.choice(_LETTERS)!r})")
        return rng.choice(choices)

    def _list(self, depth: int) -> str:
        rng = self._rng
        v, k = self._expression("list", depth), rng.randint(1, 3)
        return rng.choice(
            (
                f"sorted({v})",
                f"{v}[::-1]",
                f"{v}[{k}:]",
                f"{v}[:-{k}]",
                f"({v} + [{self._expression('int', 0)}])",
                f"[x * {k + 1} for x in {v}]",
                f"[x for x in {v} if {self._condition('x')}]",
                f"[x - {k} for x in {v} if {self._condition('x')}]",
                f"sorted(set({v}))",
            )
        )

    def _str(self, depth: int) -> str:
        rng = self._rng
        s, k = self._expression("str", depth), rng.randint(1, 3)
        return rng.choice(
            (
                f"{s}[::-1]",
                f"{s}.upper()",
                f"{s}[{k}:]",
                f"{s}[:{k + 1}]",
                f"({s} + {self._constant('str')})",
                f"{s}.replace({rng.choice(_LETTERS)!r}, {rng.choice(_LETTERS)!r})",
                f"''.join(sorted({s}))",
                f"''.join(c for c in {s} if c not in {rng.choice(('aei', 'xyz', 'abc'))!r})",
            )
        )


def write_program(rng: random.Random, *, statements: int, depth: int) -> tuple[str, list[Kind]]:
    """(source of a function `f`, kinds of its parameters)."""
    return ProgramWriter(rng, statements=statements, depth=depth).write()


def draw_arguments(rng: random.Random, kinds: list[Kind]) -> list[Any]:
    """One value for each parameter."""
    values: list[Any] = []
    for kind in kinds:
        if kind == "int":
            values.append(rng.randint(-20, 40))
        elif kind == "list":
            values.append([rng.randint(-9, 20) for _ in range(rng.randint(2, 6))])
        else:
            values.append("".join(rng.choice(_LETTERS) for _ in range(rng.randint(3, 8))))
    return values
