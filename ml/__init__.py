"""MIRAGE (arXiv 2603.02434): from a health record, through a knowledge graph, to a surrogate."""
