"""The house, drawn from its imports: `python docs/hooks/house.py` writes docs/architecture/house.svg.

A row and a column for each package of src/corrpo, the top floor first. A dot says that the package of its row
imports that of its column; every dot stands right of the diagonal, as imports go down only. The number in a
dot is how many modules import it.
"""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "corrpo"
DRAWING = ROOT / "docs" / "architecture" / "house.svg"

FLOORS = (
    ("cli",),
    ("viewer", "monitor"),
    ("report",),
    ("experiments",),
    ("lab.build",),
    ("evaluation",),
    ("training",),
    ("measurement",),
    ("rewards",),
    ("jobs",),
    ("strength",),
    ("models",),
    ("lab", "samples", "statistics"),
    ("answers",),
    ("errors",),
)
"""Packages from the top floor down; those of one floor do not know each other. lab.build, which trains the
tiny models, stands above the data of the lab."""

CELL, LEFT, TOP = 30, 150, 96
INK, MUTED, RULE, DOT, PAPER = "#1f2430", "#5b6270", "#d8dbe2", "#3b5bdb", "#ffffff"


def package_of(module: str) -> str:
    """The package of a module below corrpo.

    >>> package_of("strength.norms.nuclear"), package_of("lab.build.training_data"), package_of("lab.tasks")
    ('strength', 'lab.build', 'lab')
    """
    nested = next(
        (name for floor in FLOORS for name in floor if "." in name and module.startswith(name)), None
    )
    return nested or module.partition(".")[0]


def imports() -> dict[tuple[str, str], set[str]]:
    """(importing package, imported package) to the modules that do; corrpo/__init__.py is left out."""
    modules = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE or path.stem == "errors"
    }
    arrows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("corrpo."):
                continue
            source = str(node.module).removeprefix("corrpo.")
            for name in node.names:
                imported = f"{source}.{name.name}"
                pair = package_of(module), package_of(imported if imported in modules else source)
                if pair[0] != pair[1]:
                    arrows[pair].add(module)
    return arrows


def drawing(arrows: dict[tuple[str, str], set[str]]) -> str:
    """The matrix of imports as an SVG, with its own background."""
    names = [name for floor in FLOORS for name in floor]
    width, height = LEFT + CELL * len(names) + 16, TOP + CELL * len(names) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        "<title>Which package of corrpo imports which</title>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
    ]
    for number, name in enumerate(names):
        x, y = LEFT + CELL * number, TOP + CELL * number
        parts += [
            f'<line x1="{LEFT}" x2="{width - 16}" y1="{y}" y2="{y}" stroke="{RULE}"/>',
            f'<line y1="{TOP}" y2="{height - 16}" x1="{x}" x2="{x}" stroke="{RULE}"/>',
            f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{RULE}"/>',
            f'<text x="{LEFT - 10}" y="{y + 20}" text-anchor="end" fill="{INK}">{name}</text>',
            f'<text transform="translate({x + 20},{TOP - 8}) rotate(-60)" fill="{MUTED}">{name}</text>',
        ]
    for (importer, imported), modules in sorted(arrows.items()):
        x = LEFT + CELL * names.index(imported) + CELL // 2
        y = TOP + CELL * names.index(importer) + CELL // 2
        parts += [
            f'<circle cx="{x}" cy="{y}" r="11" fill="{DOT}"/>',
            f'<text x="{x}" y="{y + 4}" text-anchor="middle" fill="{PAPER}">{len(modules)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the drawing."""
    DRAWING.parent.mkdir(exist_ok=True)
    DRAWING.write_text(drawing(imports()), encoding="utf-8")
    print(DRAWING.relative_to(ROOT))


if __name__ == "__main__":
    main()
