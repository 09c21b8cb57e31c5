"""The search space of one search, and its limits."""
