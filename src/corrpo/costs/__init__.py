"""What a measurement costs: operations, memory and traffic of each estimator, from shapes (docs/COST.md)."""

from corrpo.costs.arithmetic import Operations, operations
from corrpo.costs.shapes import Block, Map, ModelShape, Workload

__all__ = ["Block", "Map", "ModelShape", "Operations", "Workload", "operations"]
