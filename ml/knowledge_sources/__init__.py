"""Readers of published knowledge graphs, each giving a `ml.knowledge_graph.KnowledgeGraph`."""
