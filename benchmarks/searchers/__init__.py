"""Searchers against each other on tables of trainings that others have made and recorded."""
