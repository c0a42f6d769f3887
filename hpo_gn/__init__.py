"""hpo_gn: hyperparameter optimization of PyTorch models under a GPU×epoch budget."""
