"""Oracles: which trial comes next, and what has ended."""
