"""Formats: containers that are read without executing anything."""
