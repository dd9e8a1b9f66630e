"""MIRAGE: from a health record, through a knowledge graph, to a surrogate of an MRI (arXiv 2603.02434)."""
