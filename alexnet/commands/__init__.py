"""The command line: one module per command, and what both packages' commands share."""
