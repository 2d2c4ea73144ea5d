"""Corpora of normalised clips: texts, splits, batches on the device, augmentation, masking, tokenizer."""
