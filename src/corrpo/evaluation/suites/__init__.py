"""Suites by name: benchmarks of the hub, reasoning-gym, the lab, and files of problems."""
