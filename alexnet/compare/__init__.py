"""Differences between networks, and the point of a space nearest to one."""
