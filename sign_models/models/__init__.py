"""The three trained models, what they are built of, and how they lie on disk. Knows torch and transformers."""
