"""The one-way flow of the design: no upward import, no cycle, no import inside a function but for optional extras."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tracejit"
LONGEST_FILE = 500

ALLOWED: dict[str, set[str]] = {
    "records": set(),
    "vecmath": {"records"},
    "ops": {"vecmath", "records"},
    "ir": {"ops", "records"},
    "trace": {"ir", "ops", "records"},
    "autodiff": {"trace", "ir", "ops", "records"},
    "passes": {"ir", "ops", "records"},
    "schedule": {"ir", "ops", "records"},
    "lower": {"schedule", "ops", "vecmath", "records"},
    "runtime": {"lower", "schedule", "ops", "records"},
}
"""Package -> the packages that it may import, besides itself. Those not named here (the api modules at the top,
`eager` and what stands on the public face) may import all, and no package named here may import them."""

LATE_IMPORTS = {
    *("llvmlite", "numba", "cupy"),
    *("graphviz", "matplotlib", "scipy", "sklearn", "tensorboardX", "tqdm", "PIL", "safetensors"),
    *("hashlib", "json", "signal"),
}
"""What may be imported inside a function: compilers, which take long to load, the optional extras, and what of the
standard library a program is spared that imports tracejit and does not call it."""

ADAPTER = "tracejit.runtime.cuda_adapter"
"""The one module that knows Numba, which compiles the kernels of a GPU."""

BANNED_STEMS = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}

pytestmark = pytest.mark.smoke


def imported(module: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that one import statement of `module` loads; submodules are told from attributes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        base = importlib.util.resolve_name("." * node.level + base, package)
    return [f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(module: str) -> Iterator[tuple[str, int, bool]]:
    """(imported name, line, inside a function) of each import that runs."""
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(MODULES[module].read_text()), False)]
    while pending:
        node, inside = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((name, node.lineno, inside) for name in imported(module, node))
        if is_type_checking(node):
            continue
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending.extend((child, inside) for child in ast.iter_child_nodes(node))


def layer(module: str) -> str:
    """The package right below `tracejit` that a module belongs to; "" for the modules at the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def graph() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports when it is loaded (a module's packages are not counted)."""
    return {m: {name for name, _, inside in imports(m) if name in MODULES and not inside} for m in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_imports_flow_one_way(module: str) -> None:
    own = layer(module)
    if own not in ALLOWED:
        return
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {name}"
        for name, line, _ in imports(module)
        if name.split(".")[0] == "tracejit" and layer(name) not in ALLOWED[own] | {own}
    ]
    assert not wrong, f"`{own}` may import only {sorted(ALLOWED[own])}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", MODULES)
def test_late_imports_are_of_optional_things(module: str) -> None:
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {name} inside a function"
        for name, line, inside in imports(module)
        if inside and name.split(".")[0] not in LATE_IMPORTS
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_cycle() -> None:
    edges, done, cycles = graph(), set[str](), list[str]()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            cycles.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for name in sorted(edges[module]):
                visit(name, [*path, module])
            done.add(module)

    for module in sorted(edges):
        visit(module, [])
    assert not cycles, "\n".join(cycles)


def test_allowed_has_no_cycle() -> None:
    rest = dict(ALLOWED)
    while rest:
        free = [name for name, needs in rest.items() if not needs & set(rest)]
        assert free, f"ALLOWED has a cycle among {sorted(rest)}"
        for name in free:
            del rest[name]


def test_numba_is_imported_by_its_adapter_alone() -> None:
    """LLVM compiles the kernels of a CPU; Numba takes half a second to import and would add only type inference."""
    wrong = [
        f"{m} imports {name}"
        for m in MODULES
        for name, _, inside in imports(m)
        if name.split(".")[0] == "numba" and not (m == ADAPTER and inside)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_one_idea(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, f"{path.relative_to(ROOT)} has {lines} lines"
    assert path.stem not in BANNED_STEMS, f"{path.relative_to(ROOT)}: name it after what it holds"
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} has no docstring"
