"""A compile: from a recipe to a signed package, pass by pass, with a cache of finished passes.

Owns the pipeline, the state that passes hand on, lineage and cache. Must not import the client, the fleet or the
command line.
"""
