"""The MQTT side: the connection, requests in, replies and announcements out."""
