"""Passes from Program to Program: simplification, widening of half precision, strip-mining."""
