"""Trainings from the web: asked for in a form, carried out by a worker, watched on a page.

A worker writes a snapshot of the people (`snapshot`), has the engine train on it in a child process
(`runner`, `process`, `child`) and writes down what that tells (`recorder`).
"""
