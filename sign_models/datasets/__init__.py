"""Corpora on disk: import, store, leak checks, report, demo corpus."""
