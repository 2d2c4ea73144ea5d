"""Tables: a row for each frame, or each landmark of one, whatever their columns are called."""
