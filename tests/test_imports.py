"""Imports point one way (docs/architecture.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Package → the packages of ours that it must not import.
FORBIDDEN = {
    "config": {"cli", "training", "evaluation", "analysis", "generators", "reporting", "attacks",
               "data", "models", "ops"},
    "attacks": {"models", "data", "training", "evaluation", "analysis", "generators", "reporting",
                "cli"},
    "data": {"attacks", "training", "evaluation", "analysis", "generators", "reporting", "cli"},
    "models": {"attacks", "data", "training", "evaluation", "analysis", "generators", "reporting",
               "cli"},
    "certificates": {"training", "evaluation", "analysis", "generators", "reporting", "data",
                     "cli"},
    "generators": {"training.robust", "evaluation", "analysis", "reporting", "cli", "attacks"},
    "training": {"evaluation", "analysis", "generators", "reporting", "cli"},
    "evaluation": {"training", "analysis", "generators", "reporting", "cli"},
    "analysis": {"training", "evaluation", "generators", "reporting", "cli", "attacks"},
    "reporting": {"training", "analysis", "generators", "cli", "attacks"},
    "planning": {"training", "evaluation", "analysis", "generators", "reporting", "cli", "attacks"},
}  # fmt: skip


def imported_names(source: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for source in sorted((ROOT / "pyrobust" / package).rglob("*.py")):
        for name in imported_names(source):
            for forbidden in FORBIDDEN[package]:
                prefix = f"pyrobust.{forbidden}"
                assert name != prefix and not name.startswith(prefix + "."), f"{source}: {name}"


def test_nothing_imports_snakemake() -> None:
    for source in (ROOT / "pyrobust").rglob("*.py"):
        assert not any(n.split(".")[0] == "snakemake" for n in imported_names(source)), source


def test_functors_know_nothing_of_torch() -> None:
    functors = list((ROOT / "csrc/functors").glob("*.h"))
    assert functors
    for header in functors:
        includes = [line for line in header.read_text().splitlines() if "#include" in line]
        assert not any(word in line for line in includes for word in ("ATen", "torch", "c10"))
