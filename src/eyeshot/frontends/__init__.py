"""Frontends translate sources to graphs, and nothing else."""
