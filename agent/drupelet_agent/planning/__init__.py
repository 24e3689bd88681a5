"""Pure decisions about a device: memory and cores, variant and threads, residency, contracts, re-tuning.

Functions of values alone: no input or output, no clock, no other folder but `store.records` and `device.snapshot` for
their values.
"""
