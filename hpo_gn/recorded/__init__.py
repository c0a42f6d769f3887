"""Recorded trainings: written once from a study, and searched again without training."""
