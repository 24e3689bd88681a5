"""The worker process: sandbox, engine session, decoding, inference, post-processing, encoding.

Runs in a process of its own. The agent's parent side must not import it; of `serving` it imports the messages alone.
"""
