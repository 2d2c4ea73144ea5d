"""Scores of translations, each with its recipe."""
