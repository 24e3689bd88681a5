"""Prune, quantize and run ResNet18: `python workflow.py`.

The weights come from a few epochs on the small digits of scikit-learn, enlarged to 32 x 32 colour images: enough to see
every step work. For your own network, replace `trained_resnet18` and `digits`.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from model import ResNet18
from sklearn.datasets import load_digits
from torch.nn import functional

from drupelet import EdgeConverter, Runtime, StructuredPruner, analyze_sensitivity, progressive_pruning

CLASSES = 10
VALIDATION_SHARE = 0.25
DEVICE = {"device_type": "raspberry_pi_4", "memory_limit": "512MB", "cpu_cores": 4}

Samples = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    """Run the workflow with the sizes given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("resnet18-int8.onnx"))
    options = parser.parse_args()
    torch.manual_seed(0)
    train, held_out = digits(options.samples)
    model = trained_resnet18(train, epochs=options.epochs)
    evaluate = partial(top1, samples=held_out)
    example_input = train[0][:1]

    curves = analyze_sensitivity(model, example_input, evaluate, ratios=[0.5])
    pruner = StructuredPruner(prune_ratio=0.5, iterations=2)
    pruned = progressive_pruning(model, train, evaluate, pruner=pruner, sensitivity=curves, max_metric_drop=0.02)
    print(f"top-1 {pruned.baseline:.3f} -> {pruned.metric:.3f} in {len(pruned.steps)} steps")

    original = EdgeConverter().from_pytorch(model, tuple(example_input.shape))
    edge_model = EdgeConverter().from_pytorch(pruned.model, tuple(example_input.shape))
    quantized = edge_model.optimize_for_edge(calibration=train[0][:64])
    print(f"size {original.size_bytes} -> {edge_model.size_bytes} -> {quantized.size_bytes} bytes")

    with Runtime(DEVICE).load_model(quantized.save(options.output)) as net:
        labels = [int(net(image[None].numpy()).argmax()) for image in held_out[0]]
    agreeing = sum(label == int(truth) for label, truth in zip(labels, held_out[1], strict=True))
    print(f"top-1 in ONNX Runtime, int8: {agreeing / len(labels):.3f}; model in {options.output}")


def digits(count: int) -> tuple[Samples, Samples]:
    """Training and held-out images of shape (samples, 3, 32, 32) from 0 to 1, with their labels."""
    source = load_digits()
    chosen = torch.randperm(len(source.images))[:count]
    images = torch.from_numpy(source.images).float()[chosen, None] / 16
    images = functional.interpolate(images, size=(32, 32), mode="bilinear").repeat(1, 3, 1, 1)
    labels = torch.from_numpy(source.target).long()[chosen]
    held_out = int(count * VALIDATION_SHARE)
    return (images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out])


def trained_resnet18(samples: Samples, *, epochs: int) -> ResNet18:
    """ResNet18 after a few epochs."""
    model, (images, labels) = ResNet18(CLASSES), samples
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def top1(model: torch.nn.Module, samples: Samples) -> float:
    """Return the fraction of samples whose label has the highest score."""
    with torch.inference_mode():
        return float((model.eval()(samples[0]).argmax(dim=1) == samples[1]).float().mean())


if __name__ == "__main__":
    main()
