"""The network: its graph, its plan and its cost."""
