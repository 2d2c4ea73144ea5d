"""The trained models, what they are built of, and how they are saved. Imports torch and transformers, no MLflow."""
