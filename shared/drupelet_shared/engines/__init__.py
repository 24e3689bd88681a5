"""The inference runtimes behind one interface; host and device create sessions in the same way.

Must not import `contract` or `inference`.
"""
