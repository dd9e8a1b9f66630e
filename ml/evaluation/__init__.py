"""Measures of what a trained model does, each with its uncertainty."""
