"""Where the projections are in each family of models: `mixers` finds them, with one file per family.

This module is light: the names of attention's projections, and nothing that needs torch.
"""

PROJECTIONS = ("q", "k", "v", "o")
"""The projections of attention, in the order of the results."""
