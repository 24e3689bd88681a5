"""How packages get to this device: pushed in chunks over MQTT, or fetched from where the desired state says."""
