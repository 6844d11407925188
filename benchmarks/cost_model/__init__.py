"""What a measurement costs: operations, memory and traffic of each estimator, from shapes (docs/COST.md)."""

from cost_model.model_shape import Block, Map, ModelShape, Workload
from cost_model.operations import Operations, operations

__all__ = ["Block", "Map", "ModelShape", "Operations", "Workload", "operations"]
