"""Analysis: what the defining equation of an op accesses, found by running it on symbols."""
