"""Analyses: arithmetic on what the engines find."""
