"""Data as the compiler takes it, and the adapters that read it."""
