"""The transformations as users call them: trees in, trees out, errors at the gate."""
