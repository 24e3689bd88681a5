"""Requests become replies: queues and supervision in the parent, engines in worker processes."""
