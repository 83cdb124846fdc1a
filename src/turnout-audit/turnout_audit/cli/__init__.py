"""The command line, `turnout-audit`, and the same commands for `turnout audit`."""
