"""The stages: what each is (declaration), what it gets and gives (work), what it does."""
