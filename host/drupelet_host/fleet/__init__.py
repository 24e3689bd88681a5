"""Every device on a broker: its state from what it tells, and the views of it."""
