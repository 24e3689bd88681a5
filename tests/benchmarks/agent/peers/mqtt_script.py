"""What a person writes in an hour: paho and ONNX Runtime in one file.

Arguments: host, port, model, ready word, topic, options.
"""

# ruff: noqa: ANN001, ANN201, ARG001 - written as such scripts are

import socket
import sys

import numpy as np
import onnxruntime as ort
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, model, ready, topic, *options = sys.argv[1:]

session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
shape = [size if isinstance(size, int) else -1 for size in session.get_inputs()[0].shape]
name = session.get_inputs()[0].name
output = session.get_outputs()[0].name


def on_connect(client, userdata, flags, reason_code, properties):
    client.subscribe(topic, qos=1)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    print(ready, flush=True)


def on_message(client, userdata, message):
    tensor = np.frombuffer(message.payload, dtype=np.float32).reshape(shape)
    (result,) = session.run([output], {name: tensor})
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = message.properties.CorrelationData
    client.publish(message.properties.ResponseTopic, result.tobytes(), qos=1, properties=properties)


def on_socket_open(client, userdata, sock):
    if "no-delay" in options:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=topic.replace("/", "-"), protocol=mqtt.MQTTv5)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.on_socket_open = on_socket_open
client.connect(host, int(port))
client.loop_forever()
