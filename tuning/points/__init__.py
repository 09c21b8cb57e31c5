"""Points that people name."""
