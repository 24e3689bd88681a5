"""How packages reach this device: uploaded in chunks over MQTT, or fetched from the source of a desired state.

Must not import `commands` or `serving`.
"""
