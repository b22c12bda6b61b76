"""Sums, products and determinants of small matrices whose entries are expressions."""

from __future__ import annotations

from rlvr.verifiers.math.tree import Node, add, multiply, negate

MAX_SIDE = 12
MAX_DETERMINANT = 5


def simplify_matrix(node: Node) -> Node:
    """A matrix expression carried out as far as shapes allow; otherwise the node as it is."""
    if node.kind == "matrix" or not node.args:
        return node
    args = tuple(simplify_matrix(arg) for arg in node.args)
    node = node._replace(args=args)
    if node.kind == "mul":
        return _product(node)
    if node.kind == "add" and all(arg.kind == "matrix" for arg in args):
        total = args[0]
        for arg in args[1:]:
            summed = _sum(total, arg)
            if summed is None:
                return node
            total = summed
        return total
    if node.kind == "pow" and args[0].kind == "matrix" and args[1].kind == "num":
        exponent = args[1].number
        if exponent.denominator == 1 and 1 <= exponent <= 6 and len(args[0].args) <= 4:
            return _product(Node("mul", (args[0],) * int(exponent)))
    if node.kind == "call" and node.value in ("det", "abs") and args[0].kind == "matrix":
        return determinant(args[0]) or node
    return node


def _product(node: Node) -> Node:
    scalars = [arg for arg in node.args if arg.kind != "matrix"]
    matrices = [arg for arg in node.args if arg.kind == "matrix"]
    if not matrices:
        return node
    total = matrices[0]
    for right in matrices[1:]:
        inner, columns = len(right.args), len(right.args[0].args)
        if any(len(row.args) != inner for row in total.args) or max(inner, columns, len(total.args)) > MAX_SIDE:
            return node
        if any(len(row.args) != columns for row in right.args):
            return node
        columns_right = list(zip(*(row.args for row in right.args), strict=True))
        total = Node("matrix", tuple(
            Node("tuple", tuple(add(*map(multiply, row.args, column)) for column in columns_right), "()") for row in total.args
        ))  # fmt: skip
    if not scalars:
        return total
    factor = multiply(*scalars)
    return Node(
        "matrix", tuple(row._replace(args=tuple(multiply(factor, cell) for cell in row.args)) for row in total.args)
    )


def _sum(left: Node, right: Node) -> Node | None:
    if len(left.args) != len(right.args) or any(
        len(a.args) != len(b.args) for a, b in zip(left.args, right.args, strict=True)
    ):
        return None
    return Node("matrix", tuple(
        Node("tuple", tuple(add(x, y) for x, y in zip(a.args, b.args, strict=True)), "()")
        for a, b in zip(left.args, right.args, strict=True)
    ))  # fmt: skip


def determinant(matrix: Node) -> Node | None:
    """The determinant by expansion along the first row; None if it is not square or too large."""
    side = len(matrix.args)
    if side > MAX_DETERMINANT or any(len(row.args) != side for row in matrix.args):
        return None
    return _minor([list(row.args) for row in matrix.args])


def _minor(rows: list[list[Node]]) -> Node:
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, entry in enumerate(rows[0]):
        rest = _minor([row[:column] + row[column + 1 :] for row in rows[1:]])
        terms.append(multiply(entry, rest) if column % 2 == 0 else negate(multiply(entry, rest)))
    return add(*terms)
