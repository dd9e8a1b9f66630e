"""The figures of a study in words, tables, pictures and files."""
