"""Every device on a broker: its state from its messages, and the views of that state.

Must not import the compiler, `top` or the dashboard.
"""
