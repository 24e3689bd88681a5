"""From a package file to an active release: verify, check golden vectors, measure, choose, activate.

Runs in command processes, never in the daemon. Must not import `commands`, `delivery` or `messaging`.
"""
