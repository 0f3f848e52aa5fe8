"""Who may import whom, downwards only, and how long a file may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "manifests": {"manifests"},
    "stages": {"stages", "manifests"},
    "model": {"model", "manifests"},
    "pipeline": {"pipeline", "stages", "manifests", "model"},
}
OURS = {*MAY_IMPORT, "tests", "benchmarks"}
FILES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top names of all that a file imports, wherever in it the import stands; relative ones as the package's own."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(path.relative_to(ROOT).parts[0] if node.level else node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
            names |= {arg.value.partition(".")[0] for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return names


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_packages_are_there_to_be_looked_at():
    found = {name(path).partition("/")[0] for path in FILES}
    assert {"manifests", "stages", "pipeline"} <= found
    assert "manifests" in imported(ROOT / "stages" / "ingest.py")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_downwards(path):
    package = name(path).partition("/")[0]
    assert imported(path) & OURS <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", [path for path in FILES if not name(path).startswith("pipeline/")], ids=name)
def test_only_the_pipeline_knows_ray(path):
    assert "ray" not in imported(path)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_is_over_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
