"""Explanations of what a function does, in text for people."""
