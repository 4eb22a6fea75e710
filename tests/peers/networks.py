"""The peer of `cargo xtask bench train|infer`: the same networks in PyTorch, and in ONNX Runtime for inference.

Arguments: case, layout (contiguous | channels-last | onnxruntime), threads (0: as the library likes).
Protocol: see xtask/src/bench/worker.rs. Needs torch (and torchvision for ResNet-18), or numpy and onnxruntime.
"""
import resource
import struct
import sys
import time


def serve(once):
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            once()
            times.append(f"{time.perf_counter() - start:.9f}")
        print(" ".join(times), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def resnet20(torch, width, classes):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)
            self.relu = nn.ReLU(inplace=True)
            self.down = None
            if stride > 1 or before != after:
                self.down = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + (x if self.down is None else self.down(x)))

    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    before = width
    for stage in range(3):
        for index in range(3):
            after = width << stage
            layers.append(Block(before, after, 2 if stage and not index else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def train(case, layout, threads):
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    if case == "resnet18-224-b8":
        import torchvision

        net, batch, side, classes = torchvision.models.resnet18(), 8, 224, 1000
    else:
        net, batch, side, classes = resnet20(torch, 16, 10), 64, 64, 10
    x = torch.rand(batch, 3, side, side) * 2 - 1
    y = torch.arange(batch) * 7 % classes
    if layout == "channels-last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def once():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    serve(once)


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """One protobuf field: an integer, or bytes, text or a message's bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_resnet18(np, batch):
    """ResNet-18 as an ONNX model, written field by field so that only the runtime is needed."""
    rng = np.random.default_rng(0)
    nodes, initial = [], []

    def tensor(name, array):
        dims = b"".join(field(1, int(d)) for d in array.shape)
        initial.append(field(5, dims + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes())))
        return name

    def node(kind, inputs, output, **attributes):
        body = b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, output) + field(4, kind)
        for name, value in attributes.items():
            if isinstance(value, float):
                entry = field(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + field(20, 1)
            elif isinstance(value, int):
                entry = field(1, name) + field(3, value) + field(20, 2)
            else:
                entry = field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7)
            body += field(5, entry)
        nodes.append(field(1, body))
        return output

    def conv_bn(x, name, before, after, kernel, stride, relu=True):
        w = rng.normal(0, (2 / (before * kernel * kernel)) ** 0.5, (after, before, kernel, kernel))
        pad = kernel // 2
        x = node("Conv", [x, tensor(name + ".w", w)], name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        one, zero = np.ones(after), np.zeros(after)
        parts = [tensor(f"{name}.{k}", v) for k, v in (("g", one), ("b", zero), ("m", zero), ("v", one))]
        x = node("BatchNormalization", [x, *parts], name + ".bn", epsilon=1e-5)
        return node("Relu", [x], name + ".relu") if relu else x

    x = conv_bn("x", "stem", 3, 64, 7, 2)
    x = node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = 64
    for stage in range(4):
        after = 64 << stage
        for index in range(2):
            stride = 2 if stage and not index else 1
            name = f"layer{stage}.{index}"
            skip = x if stride == 1 else conv_bn(x, name + ".down", before, after, 1, stride, relu=False)
            y = conv_bn(x, name + ".conv1", before, after, 3, stride)
            y = conv_bn(y, name + ".conv2", after, after, 3, 1, relu=False)
            x = node("Relu", [node("Add", [y, skip], name + ".add")], name + ".relu")
            before = after
    x = node("Flatten", [node("GlobalAveragePool", [x], "mean")], "flat")
    head = [tensor("fc.w", rng.normal(0, 0.04, (1000, 512))), tensor("fc.b", np.zeros(1000))]
    node("Gemm", [x, *head], "y", transB=1)

    def value(name, shape):
        dims = b"".join(field(1, field(1, d)) for d in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    graph = b"".join(nodes) + field(2, "resnet18") + b"".join(initial)
    graph += field(11, value("x", [batch, 3, 224, 224])) + field(12, value("y", [batch, 1000]))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17))


def infer(case, threads):
    import numpy as np
    import onnxruntime

    batch = int(case.rsplit("b", 1)[1])
    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_resnet18(np, batch), options, providers=["CPUExecutionProvider"])
    x = (np.random.default_rng(1).random((batch, 3, 224, 224)) * 2 - 1).astype(np.float32)
    serve(lambda: session.run(None, {"x": x}))


case, layout, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
infer(case, threads) if layout == "onnxruntime" else train(case, layout, threads)
