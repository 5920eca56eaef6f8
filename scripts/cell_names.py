"""Which names a cell of a notebook sets and which it needs from the cells above; for build_blank.py."""

import ast


def stored_names(tree: ast.AST) -> list[str]:
    """Names that the top level of a cell sets, in order; what functions and comprehensions keep to themselves is left
    out."""
    names = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.alias):
            names.append((node.asname or node.name).partition(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif not isinstance(node, (ast.Lambda, ast.comprehension)):
            names += stored_names(node)
    return list(dict.fromkeys(names))


class Reader(ast.NodeVisitor):
    """Goes through code in the order in which it runs: `needed` was read before it was surely in `known`.

    The body of a loop counts as run, of an `if` only what both branches set. In doubt a name is needed: one too many in
    the comment of a cell does no harm.
    """

    def __init__(self, known=()):
        self.needed, self.known = set(), set(known)

    def run(self, *parts) -> None:
        for part in parts:
            for node in part if isinstance(part, list) else [part]:
                if node is not None:
                    self.visit(node)

    def inside(self, own, *parts) -> set[str]:
        """Run the parts with names of their own, which nothing outside sees; returns what is known in there then."""
        inner = Reader(self.known | set(own))
        inner.run(*parts)
        self.needed |= inner.needed
        return inner.known

    def visit_Name(self, node):
        if not isinstance(node.ctx, ast.Store) and node.id not in self.known:
            self.needed.add(node.id)
        if isinstance(node.ctx, ast.Store):
            self.known.add(node.id)
        elif isinstance(node.ctx, ast.Del):
            self.known.discard(node.id)

    def visit_alias(self, node):
        self.known.add((node.asname or node.name).partition(".")[0])

    def visit_Assign(self, node):
        self.run(node.value, node.targets)

    def visit_AugAssign(self, node):  # x += 1 reads x as well
        self.run(node.value)
        if isinstance(node.target, ast.Name) and node.target.id not in self.known:
            self.needed.add(node.target.id)
        self.run(node.target)

    def visit_AnnAssign(self, node):
        self.run(node.annotation, node.value, node.target if node.value else None)

    def visit_NamedExpr(self, node):
        self.run(node.value, node.target)

    def visit_For(self, node):
        self.run(node.iter, node.target, node.body, node.orelse)

    visit_AsyncFor = visit_For

    def visit_If(self, node):
        self.run(node.test)
        self.known = self.inside((), node.body) & self.inside((), node.orelse)

    def visit_Try(self, node):
        before = set(self.known)
        self.run(node.body)
        for handler in node.handlers:
            start = Reader(before)
            start.inside([handler.name] if handler.name else (), handler.type, handler.body)
            self.needed |= start.needed
        self.run(node.orelse, node.finalbody)

    def function(self, node):
        """What stands in its head is read now. Its body has names of its own: arguments and what it sets."""
        body = node.body if isinstance(node.body, list) else [node.body]
        arguments = [part for part in ast.walk(node.args) if isinstance(part, ast.arg)]
        self.run(getattr(node, "decorator_list", []), node.args.defaults, node.args.kw_defaults)
        self.run([part.annotation for part in arguments], getattr(node, "returns", None))
        if not isinstance(node, ast.Lambda):
            self.known.add(node.name)
        handlers = [part.name for part in ast.walk(node) if isinstance(part, ast.ExceptHandler) and part.name]
        outer = {name for part in ast.walk(node) if isinstance(part, ast.Global) for name in part.names}
        own = {part.arg for part in arguments} | set(stored_names(ast.Module(body, []))) | set(handlers)
        self.inside(own - outer, body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = function

    def visit_ClassDef(self, node):
        self.run(node.decorator_list, node.bases, [keyword.value for keyword in node.keywords])
        self.inside([node.name], node.body)
        self.known.add(node.name)

    def comprehension(self, node):
        """Its names are its own, but the first thing it goes through is read outside."""
        first, *others = node.generators
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.run(first.iter)
        loops = [part for loop in others for part in (loop.iter, loop.target, loop.ifs)]
        self.inside((), first.target, first.ifs, *loops, *results)
        self.known |= {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension


def read_cell(code: str) -> Reader:
    reader = Reader()
    reader.run(ast.parse(code).body)
    return reader


def names_for_later(code: str, later: list[str]) -> list[str]:
    """What this cell sets and a later cell reads before anything else sets it again: names, and places such as
    results["SGD"]."""
    tree = ast.parse(code)
    targets = [node for part in ast.walk(tree) if isinstance(part, ast.Assign) for node in part.targets]
    places = [node for node in targets if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)]
    owners = {ast.unparse(node).replace("'", '"'): node.value.id for node in places}
    owners |= {name: name for name in stored_names(tree)}
    waiting, wanted = set(owners.values()), set()
    for cell in later:
        read = read_cell(cell)
        wanted |= waiting & read.needed
        waiting -= read.known
    return [name for name, owner in owners.items() if owner in wanted]
