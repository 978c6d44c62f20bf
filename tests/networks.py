"""Published networks as specs, written from their papers and reference code; no value of eyeshot's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]


class Net:
    """Grows a spec; every method returns the name of the layer that it adds."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.spec: Spec = {"input": list(shape), "layers": {}}

    def add(self, op: str, inputs: str | list[str], **fields: Any) -> str:
        name = f"{op}{len(self.spec['layers'])}"
        self.spec["layers"][name] = {"op": op, "inputs": inputs, **fields}
        return name

    def conv(self, x: str, kernel: Any, stride: Any = 1, padding: Any = "same", **more: Any) -> str:
        return self.add("conv", x, kernel=kernel, stride=stride, padding=padding, **more)

    def pool(self, x: str, kernel: int, stride: int, padding: Any = "same") -> str:
        return self.add("max_pool", x, kernel=kernel, stride=stride, padding=padding)

    def chain(self, x: str, *kernels: Any) -> str:
        """Convolutions with stride 1 and TensorFlow's SAME."""
        for kernel in kernels:
            x = self.conv(x, kernel)
        return x

    def concat(self, *branches: str) -> str:
        return self.add("concat", list(branches))


# --- TF-Slim (github.com/tensorflow/models, research/slim/nets), as Distill's table analysed them


def alexnet_v2(n: int) -> Spec:
    net = Net([3, n, n])
    x = net.pool(net.conv("input", 11, 4, "valid"), 3, 2, "valid")
    x = net.pool(net.conv(x, 5), 3, 2, "valid")
    net.pool(net.chain(x, 3, 3, 3), 3, 2, "valid")
    return net.spec


def vgg(n: int, blocks: Sequence[int]) -> Spec:
    net = Net([3, n, n])
    x = "input"
    for count in blocks:
        x = net.pool(net.chain(x, *[3] * count), 2, 2, "valid")
    return net.spec


def inception_v2(n: int) -> Spec:
    net = Net([3, n, n])

    def mixed(x: str) -> str:
        pooled = net.conv(net.pool(x, 3, 1), 1)
        return net.concat(net.chain(x, 1), net.chain(x, 1, 3), net.chain(x, 1, 3, 3), pooled)

    def reduction(x: str) -> str:
        two = net.conv(net.chain(x, 1), 3, 2)
        three = net.conv(net.chain(x, 1, 3), 3, 2)
        return net.concat(two, three, net.pool(x, 3, 2))

    x = net.pool(net.conv("input", 7, 2), 3, 2)
    x = net.pool(net.chain(x, 1, 3), 3, 2)
    x = reduction(mixed(mixed(x)))
    for _ in range(4):
        x = mixed(x)
    mixed(mixed(reduction(x)))
    return net.spec


def inception_v3(n: int) -> Spec:
    net = Net([3, n, n])

    def pooled(x: str) -> str:
        return net.conv(net.pool(x, 3, 1), 1)

    def small(x: str) -> str:
        return net.concat(net.chain(x, 1), net.chain(x, 1, 5), net.chain(x, 1, 3, 3), pooled(x))

    def wide(x: str) -> str:
        one = net.chain(x, 1, [1, 7], [7, 1])
        two = net.chain(x, 1, [7, 1], [1, 7], [7, 1], [1, 7])
        return net.concat(net.chain(x, 1), one, two, pooled(x))

    def split(x: str) -> str:
        one, two = net.chain(x, 1), net.chain(x, 1, 3)
        parts = [net.conv(b, k) for b in (one, two) for k in ([1, 3], [3, 1])]
        return net.concat(net.chain(x, 1), *parts, pooled(x))

    x = net.conv(net.conv("input", 3, 2, "valid"), 3, 1, "valid")
    x = net.pool(net.conv(x, 3), 3, 2, "valid")
    x = net.pool(net.conv(net.conv(x, 1, 1, "valid"), 3, 1, "valid"), 3, 2, "valid")
    for _ in range(3):
        x = small(x)
    three = net.conv(net.chain(x, 1, 3), 3, 2, "valid")
    x = net.concat(net.conv(x, 3, 2, "valid"), three, net.pool(x, 3, 2, "valid"))
    for _ in range(4):
        x = wide(x)
    one = net.conv(net.chain(x, 1), 3, 2, "valid")
    seven = net.conv(net.chain(x, 1, [1, 7], [7, 1]), 3, 2, "valid")
    x = net.concat(one, seven, net.pool(x, 3, 2, "valid"))
    split(split(x))
    return net.spec


def inception_v4(n: int) -> Spec:
    net = Net([3, n, n])

    def pooled(x: str) -> str:
        return net.conv(net.pool(x, 3, 1), 1)

    x = net.conv(net.conv("input", 3, 2, "valid"), 3, 1, "valid")
    x = net.conv(x, 3)
    x = net.concat(net.pool(x, 3, 2, "valid"), net.conv(x, 3, 2, "valid"))
    short = net.conv(net.chain(x, 1), 3, 1, "valid")
    long = net.conv(net.chain(x, 1, [1, 7], [7, 1]), 3, 1, "valid")
    x = net.concat(short, long)
    x = net.concat(net.conv(x, 3, 2, "valid"), net.pool(x, 3, 2, "valid"))
    for _ in range(4):
        x = net.concat(net.chain(x, 1), net.chain(x, 1, 3), net.chain(x, 1, 3, 3), pooled(x))
    three = net.conv(net.chain(x, 1, 3), 3, 2, "valid")
    x = net.concat(net.conv(x, 3, 2, "valid"), three, net.pool(x, 3, 2, "valid"))
    for _ in range(7):
        one = net.chain(x, 1, [1, 7], [7, 1])
        two = net.chain(x, 1, [7, 1], [1, 7], [7, 1], [1, 7])
        x = net.concat(net.chain(x, 1), one, two, pooled(x))
    one = net.conv(net.chain(x, 1), 3, 2, "valid")
    seven = net.conv(net.chain(x, 1, [1, 7], [7, 1]), 3, 2, "valid")
    x = net.concat(one, seven, net.pool(x, 3, 2, "valid"))
    for _ in range(3):
        one, two = net.chain(x, 1), net.chain(x, 1, [3, 1], [1, 3])
        parts = [net.conv(b, k) for b in (one, two) for k in ([1, 3], [3, 1])]
        x = net.concat(net.chain(x, 1), *parts, pooled(x))
    return net.spec


def inception_resnet_v2(n: int) -> Spec:
    net = Net([3, n, n])
    channels = 3

    def residual(x: str, *branches: str) -> str:
        up = net.conv(net.concat(*branches), 1, channels=channels)
        return net.add("add", [x, up])

    x = net.conv(net.conv("input", 3, 2, "valid"), 3, 1, "valid")
    x = net.pool(net.conv(x, 3), 3, 2, "valid")
    x = net.pool(net.conv(net.conv(x, 1, 1, "valid"), 3, 1, "valid"), 3, 2, "valid")
    pooled = net.conv(net.pool(x, 3, 1), 1)
    x = net.concat(net.chain(x, 1), net.chain(x, 1, 5), net.chain(x, 1, 3, 3), pooled)
    channels *= 4
    for _ in range(10):
        x = residual(x, net.chain(x, 1), net.chain(x, 1, 3), net.chain(x, 1, 3, 3))
    three = net.conv(net.chain(x, 1, 3), 3, 2, "valid")
    x = net.concat(net.conv(x, 3, 2, "valid"), three, net.pool(x, 3, 2, "valid"))
    channels *= 3
    for _ in range(20):
        x = residual(x, net.chain(x, 1), net.chain(x, 1, [1, 7], [7, 1]))
    branches = [net.conv(net.chain(x, *k), 3, 2, "valid") for k in ([1], [1], [1, 3])]
    x = net.concat(*branches, net.pool(x, 3, 2, "valid"))
    channels *= 4
    for _ in range(10):
        x = residual(x, net.chain(x, 1), net.chain(x, 1, [1, 3], [3, 1]))
    return net.spec


def mobilenet_v1(n: int) -> Spec:
    net = Net([3, n, n])
    x = net.conv("input", 3, 2)
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        x = net.conv(net.conv(x, 3, stride, groups=3), 1)
    return net.spec


def resnet_v1(n: int, units: Sequence[int]) -> Spec:
    """TF-Slim's: a block's stride is in its last unit; strided convolutions pad explicitly, the pool SAME."""
    net = Net([3, n, n])
    x = net.pool(net.conv("input", 7, 2, 3), 3, 2)
    for block, count in enumerate(units):
        for unit in range(count):
            stride = 2 if unit == count - 1 and block < 3 else 1
            shortcut = net.pool(x, 1, stride, "valid") if stride > 1 else x
            body = net.conv(net.conv(net.conv(x, 1), 3, stride, 1), 1)
            x = net.add("add", [shortcut, body])
    return net.spec


# --- others


def patchgan(n: int, strided: int) -> Spec:
    net = Net([6, n, n])
    x = "input"
    for _ in range(strided):
        x = net.conv(x, 4, 2, 1)
    net.conv(net.conv(x, 4, 1, 1), 4, 1, 1)
    return net.spec


def unet(n: int, depth: int) -> Spec:
    """Two 3x3 convolutions a level, 2x2 pooling, nearest upsampling, skips by concatenation."""
    net = Net([1, n])
    skips = []
    x = "input"
    for _ in range(depth):
        x = net.chain(x, 3, 3)
        skips.append(x)
        x = net.pool(x, 2, 2)
    x = net.chain(x, 3, 3)
    for skip in reversed(skips):
        x = net.chain(net.concat(skip, net.add("upsample", x, scale=2)), 3, 3)
    return net.spec


def tcn(n: int, kernel: int, blocks: int) -> Spec:
    net = Net([1, n])
    x = "input"
    for block in range(blocks):
        y = x
        for _ in range(2):
            y = net.conv(y, kernel, padding="causal", dilation=2**block)
        x = net.add("add", [x, y])
    return net.spec


def sincnet(n: int) -> Spec:
    net = Net([1, n])
    x = net.pool(net.conv("input", 251, 10, 0), 3, 3, 0)
    for _ in range(2):
        x = net.pool(net.conv(x, 5, 1, 0), 3, 3, 0)
    return net.spec
