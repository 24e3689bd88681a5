"""Pure decisions about a device: memory and cores, variant and threads, residency, contracts, re-tuning, roll-back.

Functions of values alone: no input or output, no clock. Imports no other folder but `store.records` and
`device.snapshot`, for their values.
"""
