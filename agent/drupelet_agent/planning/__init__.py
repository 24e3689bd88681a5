"""Pure decisions about a device: memory and cores, variant and threads, residency, contracts, re-tuning.

Functions of values alone, without input, output or a clock. Must not import any other folder of the agent but
`store.records` and `device.snapshot`, for their values.
"""
