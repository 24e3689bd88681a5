"""The worker process: sandbox, engine session, decoding, inference, post-processing, encoding.

Runs in its own process. The agent's parent side must not import it; it imports `serving` for the protocol alone.
"""
