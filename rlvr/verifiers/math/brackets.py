"""What stands in brackets, and what they belong to: sets, intervals, matrices, sums, integrals, limits."""

from __future__ import annotations

from rlvr.verifiers.math.cursor import Cursor
from rlvr.verifiers.math.lexer import UnreadableError
from rlvr.verifiers.math.tree import EMPTY, Node, call, number, symbol

_COMMAND_OPENERS = {"lbrace": "\\}", "lbrack": "]", "lparen": ")", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil",
                    "lvert": "rvert", "lVert": "rVert", "vert": "vert", "Vert": "Vert"}  # fmt: skip


class BracketParser(Cursor):
    """Reads brackets of every kind, environments, and signs with limits."""

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
            if self.token.kind == "w" and self.ahead().value in ("|", ":", "mid") and self.ahead().kind in "sc":
                return self.set_literal("}")
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
        if (
            self.token.kind == "end" and node.kind == "list" and node.value == "and"
        ):  # a brace before a system has no partner
            self.depth -= 1
            self.bars, self.in_builder = bars, builder
            return node
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
        if self.differential and not self.is_differential():
            variable, self.differential = symbol(self.differential), ""
            return Node(
                "big", (body, variable) if lower is None or upper is None else (body, variable, lower, upper), "int"
            )
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
        if not name.endswith("matrix") and all(len(row.args) == 1 and row.args[0].kind == "rel" for row in rows):
            return Node("list", tuple(row.args[0] for row in rows), "and")
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
