"""A sweep: one recipe compiled with many settings as one job, resumable, with one report over all.

Must not import the command line.
"""
