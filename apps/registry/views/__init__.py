"""Pages of the registry: models, trainings."""
