"""What giving up saves and how often it is wrong: the early-success paper's figures, and pruners replayed."""
