"""Post-processing: what a model's outputs mean, and their conversion to labels, boxes or a class map.

The device answers images with it and the compiler scores with it, so both get the same result. `specs` describes it in
a manifest without NumPy. Must not import `package`, `inference`, `engines` other than `base`, or `contract`.
"""
