"""The house keeps its order: floors, names at the top, lengths, and settings that are spelled out."""

import ast
import importlib.util
from collections.abc import Iterator

import pytest

from commands import ROOT

PACKAGE = ROOT / "src" / "corrpo"
NAMES_AT_THE_TOP = 18
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
OPEN = {"report/html_templates.py": ("render",), "training/trainer.py": ("__init__",)}
"""Functions that take whatever there is, by module: values of a template, arguments of TRL's trainer."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


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


def public_functions(body: list[ast.stmt]) -> Iterator[Function]:
    """Functions and methods whose names, and the names of whose classes, do not begin with an underscore."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, Function) and (node.name == "__init__" or not node.name.startswith("_")):
            yield node


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


def test_the_drawing_of_the_house_is_current():
    assert HOUSE.DRAWING.read_text(encoding="utf-8") == HOUSE.drawing(HOUSE.imports()), (
        "docs/architecture/house.svg is not that of these imports: run make house"
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


def test_lengths(trees):
    offences = []
    for module, tree in trees.items():
        lines = len((PACKAGE / module).read_text(encoding="utf-8").splitlines())
        if lines > LINES_OF_A_FILE:
            offences.append(f"{module} has {lines} lines")
        for node in ast.walk(tree):
            lines = node.end_lineno - node.lineno + 1 if isinstance(node, Function) else 0
            if lines > LINES_OF_A_FUNCTION:
                offences.append(f"{module} {node.name} (line {node.lineno}) has {lines} lines")
    report(
        offences,
        f"At most {LINES_OF_A_FILE} lines a file and {LINES_OF_A_FUNCTION} a function with its docstring. "
        "What is longer serves two purposes; give each a name of its own:",
    )


def test_no_file_of_python_is_long():
    """Beside the package: tests, benchmarks, recipes, plug-ins and what makes the pages."""
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("benchmarks", "docs", "plugins", "recipes", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    report(
        [f"{path} has {lines} lines" for path, lines in lengths.items() if lines > LINES_OF_A_FILE],
        f"At most {LINES_OF_A_FILE} lines a file:",
    )


def test_public_functions_spell_out_their_settings(trees):
    """A caller's editor, `help()` and pyright see every setting with its type.

    Keywords that a function ignores, because TRL or torch passes them, begin with an underscore. The events
    of transformers' callbacks (`on_...`) get what the trainer passes, a template its values, and a mixin
    what the class beneath it takes.
    """
    offences = []
    for module, tree in trees.items():
        for function in public_functions(tree.body):
            rest = function.args.kwarg
            if rest is None or rest.arg.startswith("_"):
                continue
            if function.name.startswith("on_") or function.name in OPEN.get(module, ()):
                continue
            if rest.annotation is None or ast.unparse(rest.annotation) in ("Any", "object"):
                offences.append(f"{module} {function.name} (line {function.lineno}): **{rest.arg}")
    report(
        offences,
        "Name the settings, or take them from their dataclass with corrpo.models.keywords.keywords_of:",
    )
