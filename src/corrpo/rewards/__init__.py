"""Rewards of CorR-PO, without an engine: what is measured of rollouts, and what reward follows from it.

`rollouts` measures the rollouts of a batch, `inversion` turns their rhos into the inversion reward, and
`task_rewards` asks whether answers are right. Nothing here imports a training library: trainers of any
engine call these.
"""
