"""Control flow: loops and branches that hold programs, run in place."""
