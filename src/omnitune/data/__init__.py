"""Data: from a source to tables, splits, what is learned by counting, and encoded batches."""
