"""What the regression of CorR-PO is worth by what judged its tokens: `judges.py FOLDER...`, of rollouts.py.

`own, fitted` of the fidelity table is fitted on strengths by `exact`. In training `pruned` gives them, and
the fewer positions it keeps the cheaper it is. For each judge and number of tokens: Spearman with `exact`
over tokens, the shift of rho, and the agreement of rollouts within groups, as means over draws of the tokens.
A group's strengths follow from tokens of the other groups that the judge has measured.
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import spearmanr
from signals import FITTED, NORMS
from table import rollout_rhos, within_groups
from tokens import fitted, own_parts, with_norms

from common import heading, table

JUDGES = ("exact", "pruned-32", "pruned-16", "pruned-8")
SIZES = (256, 512, 1024)
DRAWS = 4
FIT = f"own, {FITTED}"


def agreement(tokens: pl.DataFrame) -> NDArray[np.float64]:
    """Of FIT with "exact": Spearman over tokens, shift of rho, Spearman of rollouts within groups."""
    rhos = rollout_rhos(tokens, ["exact", FIT])
    centred = within_groups(rhos)

    def rho(frame: pl.DataFrame, x: str, y: str) -> float:
        return spearmanr(frame[x], frame[y]).statistic

    shift = rho(tokens, "entropy", FIT) - rho(tokens, "entropy", "exact")
    return np.array([rho(tokens, "exact", FIT), shift, rho(centred, "exact", FIT)])


def main() -> None:
    """Print a table for every folder."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    for folder in parser.parse_args().folders:
        tokens, rows = with_norms(folder).drop_nulls(f"own, {NORMS}"), []
        features = own_parts(folder, tokens)
        for judge in JUDGES:
            for size in SIZES:
                fits = [fitted(tokens, features, judge, size, [draw]) for draw in range(DRAWS)]
                found = np.mean([agreement(tokens.with_columns(fit)) for fit in fits], axis=0)
                there = f"{tokens[judge].count():,}"
                rows.append([judge, there, f"{size:,}", *(f"{value:+.3f}" for value in found)])
        with heading(f"{folder.name}: own, fitted, by what judged its tokens, mean of {DRAWS} draws"):
            header = ["judged by", "of", "tokens", "tokens, Spearman", "shift of rho", "within groups"]
            table(header, rows)


if __name__ == "__main__":
    main()
