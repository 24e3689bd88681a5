"""A person's project: the first recipe for a model, and the check of a recipe before any work.

Must not import `cli` or `client`.
"""
