"""The house keeps its order: floors, names at the top, and imports."""

import ast
import importlib.util

import pytest

from commands import ROOT

PACKAGE = ROOT / "src" / "corrpo"
NAMES_AT_THE_TOP = 18


def load_house():
    """docs/hooks/house.py: the list of floors, and the imports between packages."""
    spec = importlib.util.spec_from_file_location("house", ROOT / "docs" / "hooks" / "house.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOUSE = load_house()
FLOOR = {package: number for number, floor in enumerate(HOUSE.FLOORS) for package in floor}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Every module of the package, parsed, by its path below src/corrpo."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def report(offences: list[str], advice: str) -> None:
    """Fail with the places and what to do about them."""
    if offences:
        pytest.fail("\n  ".join([advice, *offences]), pytrace=False)


def test_names_at_the_top():
    names = sorted(path.name for path in PACKAGE.iterdir() if not path.name.startswith(("__", ".")))
    report(
        names if len(names) > NAMES_AT_THE_TOP else [],
        f"{len(names)} names in src/corrpo, at most {NAMES_AT_THE_TOP}: "
        "put the new module into the package whose noun it is.",
    )


def test_every_package_has_its_floor():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    listed = {package.partition(".")[0] for package in FLOOR}
    report(
        sorted((packages | {"errors"}) ^ listed),
        "FLOORS of docs/hooks/house.py must name these, or not:",
    )


def test_imports_go_down():
    """So no packages import each other in a circle either."""
    report(
        [
            f"{importer} imports {imported}: {', '.join(sorted(modules))}"
            for (importer, imported), modules in sorted(HOUSE.imports().items())
            if FLOOR[imported] <= FLOOR[importer]
        ],
        "A package imports packages of lower floors alone (docs/hooks/house.py). Move what both need to the "
        "lower one, or hand it over as an argument:",
    )


def test_an_import_names_the_module_that_holds_the_name(trees):
    """What `corrpo` itself offers is for users, and stands on the top floor."""
    offences = []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names = {f"corrpo.{alias.name}" for alias in node.names} if node.module == "corrpo" else set()
                wrong = node.level > 0 or names - {"corrpo.errors"}
            elif isinstance(node, ast.Import):
                wrong = any(alias.name.partition(".")[0] == "corrpo" for alias in node.names)
            else:
                continue
            if wrong and module != "__init__.py":
                offences.append(f"{module} line {node.lineno}: {ast.unparse(node)}")
    report(offences, "Write `from corrpo.PACKAGE.MODULE import NAME`:")
