"""Comparisons: every combination of objective, searcher, pruner, model, data and seed at equal budget."""
