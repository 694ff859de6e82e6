"""The house stands: imports go down only, light rooms stay light, no file grows too long, nothing unpickles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "medproof"
MAX_LINES = 500

# Floors from the ground; a package may import its own floor (no circles) and those below.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "frozen", "seeds", "records"),
    ("images", "datasets", "scoring", "runs"),
    ("models", "bench", "report"),
    ("attacks", "smoothing"),
    ("conditions", "training", "server"),
    ("evaluation", "sanity", "interchange"),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
HEAVY = {"torch", "transformers", "accelerate", "peft", "duckdb", "pyarrow", "scipy"}
NO_TORCH = ("records", "errors", "frozen", "seeds", "datasets", "scoring", "runs", "report", "bench", "interchange")

MODULES = sorted(path for path in SRC.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str | None:
    """`medproof.images.grid` -> `images`; None for the package itself and for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "medproof" and len(parts) > 1 else None


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imported(tree: ast.AST, *, run_time_only: bool) -> Iterator[str]:
    """Modules named in import statements, those inside functions too."""
    for node in ast.iter_child_nodes(tree):
        if run_time_only and is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node, run_time_only=run_time_only)


def rooms_used(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name for module in imported(tree, run_time_only=True) if (name := room(module)) in LEVEL}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    here = room(module_name(path))
    if here is None:
        assert not rooms_used(path), "the package itself imports nothing of ours"
        return
    assert here in LEVEL, f"{here} has no floor: add it to FLOORS and to docs/architecture.md"
    above = {name for name in rooms_used(path) if LEVEL[name] > LEVEL[here]}
    assert not above, f"{module_name(path)} imports from a floor above: {sorted(above)}"


def test_no_circles_between_rooms() -> None:
    uses: dict[str, set[str]] = {name: set() for name in LEVEL}
    for path in MODULES:
        if (here := room(module_name(path))) is not None:
            uses[here] |= rooms_used(path) - {here}
    free: set[str] = set()
    while ready := {name for name in uses if name not in free and uses[name] <= free}:
        free |= ready
    assert free == set(uses), f"rooms import each other in a circle: {sorted(set(uses) - free)}"


def test_only_the_front_door_imports_cli() -> None:
    users = {room(module_name(path)) for path in MODULES if "cli" in rooms_used(path)}
    assert users <= {"cli", "__main__"}


@pytest.mark.parametrize("name", NO_TORCH)
def test_light_rooms_never_import_torch(name: str) -> None:
    """By statement, and for real in a fresh interpreter."""
    files = [SRC / f"{name}.py"] if (SRC / f"{name}.py").is_file() else sorted((SRC / name).rglob("*.py"))
    for path in files:
        roots = {m.split(".")[0] for m in imported(ast.parse(path.read_text(encoding="utf-8")), run_time_only=True)}
        assert not roots & {"torch", "transformers", "accelerate", "peft"}, module_name(path)
    modules = ", ".join(module_name(path) for path in files)
    assert loaded_by(f"import {modules}") & {"torch", "transformers"} == set()


def loaded_by(statement: str) -> set[str]:
    """Top-level modules a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint('\\n'.join({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_command_line_imports_nothing_heavy() -> None:
    assert loaded_by("import medproof.cli") & HEAVY == set()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


FORBIDDEN = {
    ("torch", "load"): "unpickles: use safetensors",
    ("pickle", "load"): "unpickles",
    ("pickle", "loads"): "unpickles",
    ("yaml", "load"): "builds objects: use yaml.safe_load",
    ("yaml", "unsafe_load"): "builds objects: use yaml.safe_load",
    ("os", "system"): "runs a shell",
}


def forbidden_calls(source: str) -> list[str]:
    """Calls of FORBIDDEN, of eval and of exec, and trust in remote code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in FORBIDDEN:
                found.append(f"line {node.lineno}: {module}.{name} {FORBIDDEN[module, name]}")
            case ast.Name(id="eval" | "exec" as name):
                found.append(f"line {node.lineno}: {name}")
        for keyword in node.keywords:
            if keyword.arg == "trust_remote_code" and ast.unparse(keyword.value) != "False":
                found.append(f"line {node.lineno}: trust_remote_code")
    return found


def test_forbidden_calls_are_recognised() -> None:
    assert forbidden_calls("import yaml\nyaml.load(x)") == ["line 2: yaml.load builds objects: use yaml.safe_load"]
    assert forbidden_calls("f(trust_remote_code=True)") == ["line 1: trust_remote_code"]
    assert forbidden_calls("yaml.safe_load(x); model.eval()") == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_dangerous_calls(path: Path) -> None:
    assert forbidden_calls(path.read_text(encoding="utf-8")) == []
