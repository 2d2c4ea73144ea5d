"""Files of pose estimators: one file, list or row for each picture or recording."""
