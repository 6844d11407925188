"""An estimator that is not in the package, a module and record of its own: twice what `reference` gives."""

from dataclasses import replace

from corrpo.strength.estimators import reference

ESTIMATOR = replace(
    reference.ESTIMATOR,
    name="doubled",
    label="doubled",
    summary="twice the norms of the reference.",
    norms=lambda request: 2 * reference.reference_norms(request),
    misfit=lambda model, layers, projections: "measures q alone" if tuple(projections) != ("q",) else None,
)
