"""The commands of hpo-gn, one a file."""
