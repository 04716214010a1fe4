"""A released model on a table: raw rows in, Parquet with their scores out."""
