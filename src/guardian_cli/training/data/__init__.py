"""What there is to learn from: labelled files, read, grouped and split."""
