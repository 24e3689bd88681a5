"""Roll-outs: a version goes to a fleet wave by wave, each judged by the devices' own telemetry.

What decides is pure: selection, waves, gate and controller take values and return values. Only `link` imports the
client. Must not import the compiler, the command line or the views of the fleet.
"""
