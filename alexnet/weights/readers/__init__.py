"""Readers: one per family of weight files."""
