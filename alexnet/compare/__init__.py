"""Differences between networks, and the values of a search space nearest to one."""
