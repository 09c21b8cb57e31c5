"""The search space: which arguments vary, and in which ranges."""
