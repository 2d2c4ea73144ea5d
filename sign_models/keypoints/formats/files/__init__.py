"""Files as such: what they are, where they come from, their bytes and encodings."""
