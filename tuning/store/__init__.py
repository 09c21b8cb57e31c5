"""The search directory: records, lock, recovery, results."""
