"""Pruners for anyone's Optuna study. Imported as `hpo_gn.searchers.pruners`."""
