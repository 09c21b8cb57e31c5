"""What people see of a search."""
