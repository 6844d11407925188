"""What a measurement costs: operations, memory and traffic of each estimator, from shapes (docs/COST.md)."""

from corrpo.strength.costs.model_shape import Block, Map, ModelShape, Workload
from corrpo.strength.costs.operations import Operations, operations

__all__ = ["Block", "Map", "ModelShape", "Operations", "Workload", "operations"]
