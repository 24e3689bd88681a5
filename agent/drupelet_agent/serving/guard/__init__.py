"""What is done about what was served: roll a release back that breaks its contract, measure a model again.

Must not import `worker`, NumPy or an engine; nothing else in `serving` imports it.
"""
