"""Files that projects and corpora of the field give their own form."""
