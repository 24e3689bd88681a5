"""How packages reach this device: uploaded in chunks over MQTT, or fetched from where a desired state says.

Must not import `commands` or `serving`.
"""
