"""Objectives: pure functions of a trial's History, lower is better. Imported as `hpo_gn.objectives`."""

if __name__ == "objectives":
    raise ImportError("import hpo_gn.objectives: a bare 'objectives' would be a second copy of every class")
