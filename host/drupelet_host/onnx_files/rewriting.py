"""Rewrites what ONNX allows and quantizers do not take: sparse weights, and biases of Gemm that are matrices."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from drupelet_host.onnx_files.graph import read_constants

_BIAS_INPUT = 2
_MATRIX_RANK = 2


def store_dense(graph: onnx.GraphProto) -> None:
    """Store sparse weights as dense ones, in place."""
    for sparse in graph.sparse_initializer:
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        # Indices count over the flat tensor, or have a column for each dimension.
        places = np.unravel_index(indices, dense.shape) if indices.ndim == 1 else tuple(indices.T)
        dense[places] = values
        graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]


def split_matrix_biases(graph: onnx.GraphProto) -> None:
    """Replace a Gemm whose constant bias has several rows by one without a bias and an addition, in place."""
    constants = read_constants(graph)
    taken = {*constants, *(name for node in graph.node for name in (*node.input, *node.output))}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        bias = constants.get(node.input[_BIAS_INPUT]) if len(node.input) > _BIAS_INPUT else None
        nodes.append(node)
        if node.op_type != "Gemm" or bias is None or len(bias.dims) != _MATRIX_RANK or bias.dims[0] == 1:
            continue
        beta = next((entry.f for entry in node.attribute if entry.name == "beta"), 1.0)
        values = numpy_helper.to_array(bias)
        output, product, scaled = node.output[0], f"{node.output[0]}_product", f"{node.output[0]}_rows"
        while {product, scaled} & taken:
            product, scaled = f"{product}_", f"{scaled}_"
        taken |= {product, scaled}
        graph.initializer.append(numpy_helper.from_array((beta * values).astype(values.dtype), scaled))
        del node.input[_BIAS_INPUT:]
        node.output[0] = product
        nodes.append(helper.make_node("Add", [product, scaled], [output], name=output))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
