"""Searchers: Optuna samplers whose only state is the study. Imported as `hpo_gn.searchers`."""

if __name__ == "searchers":
    raise ImportError("import hpo_gn.searchers: a bare 'searchers' would be a second copy of every class")
