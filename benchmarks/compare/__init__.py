"""Specifications of comparisons, and what their recorded table is made with."""
