"""All small changes of a module's text, each of which a test should notice.

Changed are comparisons, `and` and `or`, `not`, bare conditions, `min` and `max`, `any` and `all`,
numbers, True and False, and statements that end a function, a loop or a turn of it early, or yield.
Left alone is what decides nothing: assertions, decorators, the digits of `round`, zip's `strict`.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "is": ("is not",),
    "is not": ("is",),
    "in": ("not in",),
    "not in": ("in",),
}
"""What each operator becomes: its boundary moved, and its opposite."""
SPELLED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
BARE = ("return", "continue", "break")
SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the bytes from `start` to `end` of the module's source become `after`."""

    module: str
    line: int
    text: str
    """The line as it is, without indentation; a bare `return` comes with the line above it."""
    start: int
    end: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """The changed source. All other lines keep their numbers."""
        raw = source.encode()
        blank = b"\n" * (self.before.count("\n") - self.after.count("\n"))
        return (raw[: self.start] + self.after.encode() + blank + raw[self.end :]).decode()

    @property
    def what(self) -> str:
        return f"{_short(self.before)} -> {_short(self.after)}"


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= SHOWN_CHARS else f"{one_line[: SHOWN_CHARS - 3]}..."


def changes(module: str, source: str) -> list[Change]:
    """All changes of this source, in its order."""
    finder = _Finder(module, source)
    finder.visit(ast.parse(source))
    return sorted(set(finder.found), key=lambda one: (one.start, one.end, one.after))


class _Finder(ast.NodeVisitor):
    def __init__(self, module: str, source: str) -> None:
        self.module = module
        self.raw = source.encode()
        self.lines = source.encode().splitlines(keepends=True)
        self.begins = [0]
        for line in self.lines:
            self.begins.append(self.begins[-1] + len(line))
        self.found: list[Change] = []

    # -- places in the text ------------------------------------------------------------------

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self.begins[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.begins[node.end_lineno - 1] + node.end_col_offset

    def _add(self, start: int, end: int, after: str) -> None:
        line = self.raw.count(b"\n", 0, start) + 1
        text = self.lines[line - 1].decode().strip()
        if text in BARE:
            text = f"{self.lines[line - 2].decode().strip()} {text}"
        before = self.raw[start:end].decode()
        self.found.append(Change(self.module, line, text, start, end, before, after))

    def _replace(self, node: ast.expr | ast.stmt, after: str) -> None:
        self._add(self._start(node), self._end(node), after)

    def _between(self, left: ast.expr, right: ast.expr, word: str) -> int | None:
        """Where the word stands between two operands; a bracket or a comment may be there, too."""
        found = self.raw.find(word.encode(), self._end(left), self._start(right))
        return None if found < 0 else found

    # -- conditions --------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, node.comparators, strict=False):
            word = SPELLED[type(operator)]
            at = self._between(left, right, word)
            if at is not None:
                for after in COMPARISONS[word]:
                    self._add(at, at + len(word), after)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        before, after = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            at = self._between(left, right, before)
            if at is not None:
                self._add(at, at + len(before), after)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add(self._start(node), self._start(node) + len("not"), "")
        self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        """One without an operator to change becomes its opposite."""
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            text = self.raw[self._start(test) : self._end(test)].decode()
            self._replace(test, f"not ({text})")

    def visit_If(self, node: ast.If) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        if node.guard is not None:
            self._condition(node.guard)
        self.generic_visit(node)

    # -- values ------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in SWAPPED:
            self._replace(node.func, SWAPPED[name])
        if name == "round":
            self.visit(node.args[0])
            return
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg != "strict":
                self.visit(keyword.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int | float):
            self._replace(node, repr(node.value + 1))

    # -- statements --------------------------------------------------------------------------

    def _function(self, node: ast.FunctionDef) -> None:
        for inner in _early(node):
            self._replace(inner, "pass")
        for statement in node.body:
            self.visit(statement)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Yield | ast.YieldFrom):
            self._replace(node, "yield from ()")
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Where the parts of one stand is known only to newer Pythons: they are left alone."""


def _early(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Statements that leave the function, or a loop in it, before its last one."""
    for node in ast.walk(function):
        match node:
            case ast.Continue() | ast.Break():
                yield node
            case ast.Return() if node is not function.body[-1]:
                yield node
