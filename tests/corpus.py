"""Specs that single out what could go wrong: each caught a change to the code that random specs missed.

``CORPUS`` maps a name to a spec in the full form. Sizes are small enough for ``brute_force``.
"""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]
Layer = str | list[int] | dict[str, Any]


def op(name: str, **fields: Any) -> dict[str, Any]:
    """A layer with parameters."""
    return {"op": name, **fields}


def spec(inputs: list[int] | dict[str, list[int]], /, **layers: Layer) -> Spec:
    """A spec of one input, or of several by name; a layer reads the one before it by default."""
    key = "inputs" if isinstance(inputs, dict) else "input"
    return {key: inputs, "layers": layers}


SCRAMBLED_16 = [i * 7 % 16 for i in range(16)]
SCRAMBLED_40 = [i * 17 % 40 for i in range(40)]

CORPUS: dict[str, Spec] = {
    # Permutations of positions, mirrored maps: windows and steps over units that are not in order.
    "mirrored-conv": spec(
        [1, 9], f="flip", c=op("conv", kernel=3, dilation=2), d=op("max_pool", kernel=2)
    ),
    "scrambled-reversed": spec(
        [1, 40],
        f="flip",
        a=op("index", dim=2, index=SCRAMBLED_40),
        c=op("conv", kernel=11, padding=3),
        d=op("conv", kernel=19, padding=9, dilation=1),
    ),
    "scrambled-dilated": spec(
        [1, 40],
        a=op("index", dim=2, index=SCRAMBLED_40),
        c=op("max_pool", kernel=9, stride=1, padding=7, dilation=3),
        d=op("max_pool", kernel=5, stride=2, dilation=2),
    ),
    "scrambled-windows": spec(
        [1, 16],
        i=op("index", dim=2, index=SCRAMBLED_16),
        c=op("conv", kernel=9, padding=4),
        m=op("mean", dims=[2]),
        p=op("max_pool", kernel=3, dilation=2, stride=2, inputs="i"),
        s=op("slice", dim=2, start=3, inputs="i"),
        r=op("reshape", shape=[1, 1, 4, 4], inputs="i"),
        t=op("mean", dims=[2]),
    ),
    # Transposed convolutions: phases that read nothing, holes of a dilation, cropped borders.
    "transposed": spec(
        [1, 5],
        a=op("conv_transpose", kernel=2, stride=2, dilation=2),
        b=op(
            "conv_transpose",
            kernel=4,
            stride=4,
            dilation=2,
            padding=[[1, 2]],
            output_padding=3,
            inputs="input",
        ),
        c=op("conv_transpose", kernel=3, stride=2, padding=[[0, 2]], inputs="input"),
    ),
    "transposed-dilated": spec(
        [1, 9],
        c=op("conv_transpose", kernel=4, stride=4, dilation=6, padding=[[3, 2]], output_padding=3),
        d=op("conv_transpose", kernel=3, stride=2, dilation=4, inputs="input"),
        e=op("conv_transpose", kernel=5, stride=6, dilation=4, inputs="input"),
        e2=op("conv_transpose", kernel=3, stride=3, dilation=6, inputs="input"),
        f=op("conv", kernel=3, inputs="e"),
    ),
    "transposed-holes": spec(
        [1, 20],
        c=op("conv_transpose", kernel=1, stride=4, padding=[[1, 0]]),
        d=op("conv", kernel=2, dilation=3, padding=2),
        e=op("max_pool", kernel=3, stride=4, dilation=2),
        f="flip",
        g=op("conv", kernel=3, padding=1),
    ),
    "transposed-empty": spec(
        [1, 6],
        t=op("conv_transpose", kernel=1, stride=3),
        c=op("conv", kernel=2),
        d=op("slice", dim=2, start=1, step=2, inputs="t"),
        e=op("add", inputs=["t", "t"]),
        f=op("mean", dims=[2], inputs="t"),
    ),
    # Resampling: places of area and linear resizes, periods that multiply, joins of unlike rates.
    "resize-chain": spec(
        [1, 30],
        a=op("adaptive_avg_pool", size=7),
        b=op("conv", kernel=3, stride=2),
        c=op("upsample", size=11, mode="area"),
        d=op("upsample", scale=1.7, mode="cubic"),
        e=op("upsample", size=29, mode="linear", align_corners=True),
        f=op("upsample", scale=0.4, mode="nearest-exact"),
    ),
    "resize-periods": spec(
        [1, 12],
        a=op("upsample", scale=1.3),
        b=op("upsample", scale=1.7),
        c=op("conv", kernel=5, stride=3, padding=2),
        d=op("upsample", size=17, inputs="input"),
        e=op("upsample", scale=2.5),
        g=op("conv", kernel=9, padding=4, stride=4),
    ),
    "rates-pooled": spec(
        [1, 24],
        a=op("avg_pool", kernel=2),
        b=op("upsample", scale=2),
        c=op("avg_pool", kernel=3, inputs="input"),
        d=op("upsample", scale=3),
        e=op("add", inputs=["b", "d"]),
        f=op("conv", kernel=3, stride=4, padding=1),
        g=op("upsample", scale=4, inputs="f"),
        h=op("flip", inputs="b"),
        i=op("add", inputs=["h", "b"]),
        k=op("upsample", scale=1.5, inputs="b"),
        l=op("conv", kernel=7, stride=3, padding=3),
    ),
    "rates-joined": spec(
        [1, 24],
        a=op("avg_pool", kernel=4, stride=4),
        b=op("upsample", scale=4),
        c=op("upsample", scale=2, inputs="a"),
        d=op("upsample", scale=2),
        e=op("add", inputs=["b", "d", "input"]),
        f=op("flip", inputs="b"),
        g=op("maximum", inputs=["f", "e"]),
        h=op("conv", kernel=3, padding=1),
    ),
    # Pools: ceil_mode's last window, default strides, adaptive windows.
    "ceil": spec(
        [1, 4],
        a=op("max_pool", kernel=2, stride=2, padding=[[0, 1]], ceil_mode=True),
        b=op("max_pool", kernel=2, stride=3, padding=[[1, 0]], ceil_mode=True, inputs="input"),
        c=op("max_pool", kernel=1, stride=3, padding=[[0, 3]], ceil_mode=True, inputs="input"),
        d=op("max_pool", kernel=2, stride=3, padding=[[0, 2]], ceil_mode=True, inputs="input"),
        e=op("max_pool", kernel=3, stride=2, ceil_mode=True, inputs="input"),
    ),
    "pool-strides": spec(
        [1, 9],
        a=op("max_pool", kernel=3),
        b=op("avg_pool", kernel=2, dilation=2, inputs="input"),
        c=op("lp_pool", kernel=2, padding=[[1, 0]], inputs="input"),
    ),
    "adaptive": spec(
        [1, 7],
        a1=op("adaptive_avg_pool", size=1, inputs="input"),
        a2=op("adaptive_avg_pool", size=2, inputs="input"),
        a3=op("adaptive_avg_pool", size=3, inputs="input"),
        a4=op("adaptive_avg_pool", size=4, inputs="input"),
        a5=op("adaptive_avg_pool", size=5, inputs="input"),
        a7=op("adaptive_avg_pool", size=7, inputs="input"),
        a9=op("adaptive_avg_pool", size=9, inputs="input"),
        a14=op("adaptive_avg_pool", size=14, inputs="input"),
    ),
    "adaptive-axes": spec(
        [1, 2, 3],
        a=op("adaptive_avg_pool", size=[1, 3]),
        b=op("adaptive_avg_pool", size=[2, 1], inputs="input"),
        c=op("adaptive_avg_pool", size=[1, 1], inputs="input"),
    ),
    # Borders that fold reads back inside, of the input and of a map that was reduced or cut.
    "folded-conv": spec(
        [1, 6],
        zeros=op("conv", kernel=4, padding=[[2, 1]], padding_mode="zeros", inputs="input"),
        reflect=op("conv", kernel=4, padding=[[2, 1]], padding_mode="reflect", inputs="input"),
        replicate=op("conv", kernel=4, padding=[[2, 1]], padding_mode="replicate", inputs="input"),
        circular=op("conv", kernel=4, padding=[[2, 1]], padding_mode="circular", inputs="input"),
        pconstant=op("pad", padding=[[1, 3]], mode="constant", inputs="input"),
        preflect=op("pad", padding=[[1, 3]], mode="reflect", inputs="input"),
        preplicate=op("pad", padding=[[1, 3]], mode="replicate", inputs="input"),
        pcircular=op("pad", padding=[[1, 3]], mode="circular", inputs="input"),
        crop=op("pad", padding=[[-2, 1]], inputs="input"),
    ),
    "folded-one": spec(
        [1, 1],
        a=op("pad", padding=[[2, 1]], mode="replicate"),
        b=op("pad", padding=[[1, 1]], mode="circular", inputs="input"),
        c=op("pad", padding=[[1, 1]], mode="circular", inputs="a"),
    ),
    "folded-slices": spec(
        [1, 6],
        p=op("pad", padding=2, mode="reflect"),
        c=op("conv", kernel=3),
        e=op("pad", padding=[[0, 2]], mode="circular", inputs="input"),
        e2=op("pad", padding=[[2, 0]], mode="circular", inputs="input"),
        j=op("concat", inputs=["input", "e3"]),
        e3=op("slice", dim=2, stop=6, inputs="e"),
        a=op("add", inputs=["e3", "input"]),
        f2=op("conv", kernel=3, inputs="j"),
    ),
    "folded-reduced": spec(
        [2, 5, 4],
        r=op("mean", dims=[3], keepdim=True),
        p=op("pad", padding=[[2, 1], [0, 0]], mode="reflect"),
        q=op("pad", padding=[[2, 1], [0, 0]], mode="circular"),
        z=op("conv", kernel=[3, 1], padding=[1, 0], padding_mode="replicate"),
    ),
    "folded-joined": spec(
        {"a": [1, 4], "b": [1, 4]},
        m=op("mean", dims=[2], keepdim=True, inputs="a"),
        cat=op("concat", dim=2, inputs=["b", "m"]),
        out=op("pad", padding=[[2, 1]], mode="reflect"),
        c=op("roll", shift=2, inputs="cat"),
        t=op("conv_transpose", kernel=2, stride=3, inputs="cat"),
        f=op("flip", inputs="cat"),
    ),
    # Permuted dims: which dim follows which axis.
    "permuted-hw": spec(
        [2, 6, 5],
        p=op("permute", order=[0, 1, 3, 2]),
        c=op("conv", kernel=[3, 2], stride=[2, 1]),
        a=op("permute", order=[0, 3, 2, 1]),
        d=op("conv", kernel=2),
    ),
    "permuted-hw-valid": spec(
        [2, 6, 5], p=op("permute", order=[0, 1, 3, 2]), c=op("conv", kernel=[3, 2], stride=[2, 1])
    ),
    "permuted-index": spec(
        [2, 2, 2],
        c=op("pad", padding=[[1, 0], [0, 0]], inputs="input"),
        r=op("index", dim=1, index=[0, 1, 1]),
        sl=op("slice", dim=2, stop=3),
        w=op("pad", padding=[[0, 0], [1, 0]]),
        p=op("permute", order=[0, 2, 3, 1]),
        q=op("permute", order=[0, 3, 1, 2], inputs="w"),
    ),
    "permuted-square": spec(
        [2, 4, 3],
        p=op("index", dim=1, index=[0, 1, 1]),
        sl=op("slice", dim=2, stop=3),
        w=op("slice", dim=3, start=1, stop=3, inputs="input"),
        q=op("permute", order=[0, 3, 1, 2], inputs="sl"),
        r=op("permute", order=[0, 2, 3, 1], inputs="sl"),
    ),
    "permuted-flat": spec(
        [2, 4, 6],
        p=op("permute", order=[0, 1, 3, 2]),
        f=op("flatten", start=2),
        c=op("conv", kernel=5, stride=3),
        r=op("reshape", shape=[1, 2, 7, 1]),
        e=op("conv", kernel=[2, 1]),
    ),
    "permuted-joined": spec(
        {"a": [1, 24], "b": [1, 24]},
        ra=op("reshape", shape=[1, 1, 4, 6], inputs="a"),
        pa=op("permute", order=[0, 1, 3, 2]),
        rb=op("reshape", shape=[1, 1, 6, 4], inputs="b"),
        j=op("add", inputs=["rb", "pa"]),
        k=op("concat", inputs=["rb", "pa"]),
        c=op("slice", dim=2, step=2, inputs="j"),
        d=op("slice", dim=3, start=1),
        e=op("conv", kernel=2, inputs="k"),
    ),
    # Reshapes: split and merged dims, aligned with the axes or not; windows in the batch.
    "reshape-misaligned": spec(
        [2, 6, 10],
        m=op("reshape", shape=[1, 2, 4, 15]),
        c=op("conv", kernel=[1, 3], padding=[0, 1]),
        b=op("reshape", shape=[1, 2, 6, 10]),
        e=op("conv", kernel=3, padding=1),
    ),
    "reshape-misaligned-valid": spec(
        [1, 6, 10],
        m=op("reshape", shape=[1, 1, 15, 4]),
        c=op("conv", kernel=[3, 1]),
        b=op("reshape", shape=[1, 1, 4, 13]),
        e=op("slice", dim=2, step=2),
    ),
    "reshape-refined": spec(
        [1, 6, 2],
        f=op("flatten", start=2),
        p=op("permute", order=[0, 1, 3, 2], inputs="input"),
        g=op("flatten", start=2),
        j=op("add", inputs=["f", "g"]),
        m=op("reshape", shape=[1, 1, 4, 3], inputs="f"),
        h=op("flatten", start=2),
        j2=op("add", inputs=["g", "h"]),
        k=op("concat", inputs=["g", "h", "f"]),
    ),
    "reshape-flat": spec(
        [1, 4, 6],
        f=op("flatten", start=2),
        c=op("conv", kernel=2, stride=2),
        r=op("reshape", shape=[1, 1, 4, 3]),
        w=op("avg_pool", kernel=[2, 1]),
        p=op("index", dim=2, index=[3, 1], inputs="r"),
        fl=op("flatten", start=2),
        i=op("select", dim=2, index=5),
    ),
    "reshape-part": spec(
        [2, 4, 6],
        t=op("flatten", start=2),
        sl=op("slice", dim=2, start=5, stop=20),
        r=op("reshape", shape=[1, 2, 5, 3]),
        k=op("concat", dim=3, inputs=["r", "r"]),
        c=op("conv", kernel=1),
        f=op("flatten", start=2),
        m=op("mean", dims=[3], inputs="k"),
    ),
    "reshape-one-side": spec(
        [1, 8],
        r=op("reshape", shape=[1, 1, 4, 2]),
        sl=op("slice", dim=3, start=1),
        j=op("add", inputs=["r", "sl"]),
        m=op("reshape", shape=[1, 1, 8]),
        c=op("slice", dim=2, start=1),
    ),
    "reshape-windows": spec(
        [2, 6, 4],
        r=op("reshape", shape=[1, 2, 3, 2, 2, 2]),
        p=op("permute", order=[0, 2, 4, 1, 3, 5]),
        w=op("reshape", shape=[6, 2, 2, 2]),
        c=op("conv", kernel=3, padding=1),
        q=op("global_avg_pool", inputs="w"),
        k=op("concat", dim=0, inputs=["w", "c"]),
        sl=op("slice", dim=0, start=3, stop=9),
        b=op("reshape", shape=[1, 3, 2, 2, 2, 2]),
        z=op("permute", order=[0, 3, 1, 4, 2, 5]),
        y=op("reshape", shape=[1, 2, 6, 4]),
    ),
    # Dims of size one: made, squeezed, moved and grown again.
    "ones-unsqueeze": spec(
        [2, 1, 5],
        u=op("unsqueeze", dim=2),
        c=op("conv", kernel=3, padding=1),
        q=op("squeeze", dim=3),
        e=op("conv", kernel=3, padding=1),
    ),
    "ones-permute": spec(
        [2, 5, 1],
        u=op("unsqueeze", dim=2),
        p=op("permute", order=[0, 1, 3, 2, 4]),
        q=op("squeeze", dim=4),
        r=op("squeeze", dim=3),
        e=op("conv", kernel=3, padding=1),
    ),
    "ones-batch": spec(
        [1, 1, 1],
        u=op("unsqueeze", dim=0),
        p=op("permute", order=[3, 1, 2, 0, 4]),
        up=op("conv_transpose", kernel=3, stride=3, inputs="input"),
        q=op("add", inputs=["input", "up"]),
    ),
    # A dim of size 1 beyond which a dilated window reads nothing, then more 1s than dims left for them.
    "ones-spare": spec(
        [2, 1, 1],
        c=op("conv", kernel=[3, 1], dilation=[2, 1], padding="same"),
        r=op("reshape", shape=[1, 1, 1, 2, 1, 1]),
        p=op("permute", order=[0, 3, 1, 4, 2, 5]),
        b=op("reshape", shape=[1, 2, 1, 1]),
    ),
    "ones-grown": spec(
        [2, 1, 5],
        u=op("unsqueeze", dim=2),
        c=op("conv", kernel=3, padding=1),
        q=op("squeeze", dim=2),
        up=op("upsample", size=[3, 5]),
        d=op("conv", kernel=3, padding=1),
        f=op("flatten", start=2),
    ),
    "ones-axis": spec(
        [3, 1, 6],
        u=op("upsample", scale=3),
        ps=op("reshape", shape=[1, 3, 6, 1], inputs="input"),
        c=op("conv", kernel=[3, 1], padding=[1, 0]),
        b=op("add", inputs=["input", "c"]),
        f=op("flatten", start=1),
        r=op("reshape", shape=[1, 6, 3, 6, 1]),
    ),
    "ones-selected": spec(
        [2, 5, 4],
        se=op("select", dim=2, index=3),
        u=op("unsqueeze", dim=2),
        c=op("conv", kernel=3, padding=1),
        j=op("add", inputs=["c", "input"]),
        e=op("conv", kernel=3, padding=1),
    ),
    "ones-holes": spec(
        [2, 1],
        u=op("unsqueeze", dim=2),
        c=op("conv", kernel=[3, 1], dilation=[2, 1], padding="same"),
        s=op("squeeze", dim=2),
    ),
    # Pixel shuffles: nested, with a factor per axis, undone, and cut between the two.
    "shuffle-nested": spec(
        [16, 3, 3],
        a=op("conv", kernel=3, padding=1),
        b=op("pixel_shuffle", factor=2),
        c=op("pixel_shuffle", factor=2),
        d=op("conv", kernel=3, padding=1),
        e=op("pixel_unshuffle", factor=2),
        f=op("pixel_unshuffle", factor=3),
    ),
    "shuffle-factors": spec(
        [6, 3, 4],
        b=op("pixel_shuffle", factor=[3, 2]),
        d=op("conv", kernel=[2, 3], padding=1, groups=1),
        e=op("slice", dim=2, stop=9),
        f=op("slice", dim=3, start=2),
        g=op("pixel_unshuffle", factor=[3, 3]),
        h=op("channel_shuffle", groups=3),
        i=op("pixel_shuffle", factor=[3, 1]),
    ),
    "unshuffle-undone": spec(
        [2, 4, 6],
        u=op("pixel_unshuffle", factor=2),
        h=op("pixel_shuffle", factor=2),
        i=op("slice", dim=1, start=1, stop=4, inputs="u"),
        u2=op("pixel_unshuffle", factor=[2, 3], inputs="input"),
        h2=op("pixel_shuffle", factor=[2, 3]),
        j=op("slice", dim=1, start=5, stop=7, inputs="u2"),
        c=op("conv", kernel=2, inputs="h2"),
    ),
    "unshuffle-cut": spec(
        [2, 2, 6],
        u=op("pixel_unshuffle", factor=2),
        i=op("slice", dim=1, start=1, stop=4),
        h=op("pixel_shuffle", factor=2, inputs="u"),
        c=op("pixel_unshuffle", factor=[1, 6], inputs="input"),
        d=op("slice", dim=1, start=4, stop=9),
        p=op("conv", kernel=3, padding=1, inputs="u"),
    ),
    "unshuffle-one-unit": spec(
        [1, 1, 2],
        u=op("pixel_unshuffle", factor=[1, 2]),
        s=op("pixel_shuffle", factor=[1, 2]),
    ),
    # Channels that read different things: groups, shuffles, picks, norms, neighbours.
    "channels-lrn": spec(
        [5, 3],
        c=op("conv", kernel=1, groups=5),
        l=op("local_response_norm", size=4),
        m=op("pad", padding=1),
        x=op("pixel_shuffle", factor=1),
        y=op("concat", inputs=["c", "l"]),
        z=op("conv", kernel=3, padding=1, groups=5),
    ),
    "channels-index": spec(
        [4, 6],
        c=op("conv", kernel=3, padding=1, groups=4),
        d=op("conv", kernel=5, padding=2, groups=4, inputs="input"),
        k=op("concat", inputs=["c", "d"]),
        p=op("index", dim=1, index=[7, 0, 3, 4, 1]),
        g=op("conv", kernel=1, groups=5, channels=10),
        u=op("slice", dim=1, start=1, step=3),
        h=op("local_response_norm", size=3),
    ),
    "channels-flat": spec(
        [4, 6],
        f=op("flatten", start=1),
        r=op("reshape", shape=[1, 24, 1]),
        g=op("conv", kernel=1, groups=6, channels=12),
        h=op("conv", kernel=1, groups=4, channels=8),
        i=op("group_norm", groups=2),
        b=op("reshape", shape=[1, 2, 4]),
    ),
    "channels-flat-groups": spec(
        [3, 4, 2],
        r=op("reshape", shape=[1, 12, 2]),
        g=op("conv", kernel=1, groups=2, channels=4),
        h=op("channel_shuffle", groups=2),
        i=op("conv", kernel=2, groups=4, channels=8),
    ),
    "channels-flat-permuted": spec(
        [2, 3, 4],
        p=op("permute", order=[0, 3, 1, 2]),
        r=op("reshape", shape=[1, 8, 3]),
        g=op("conv", kernel=1, groups=4, channels=8),
        h=op("conv", kernel=3, padding=1, groups=2, channels=8),
    ),
    "channels-flat-inputs": spec(
        {"a": [2, 3], "b": [2, 3]},
        k=op("concat", inputs=["a", "b"]),
        f=op("flatten", start=1),
        r=op("reshape", shape=[1, 12, 1]),
        g=op("conv", kernel=1, groups=2, channels=4),
        h=op("conv", kernel=1, groups=4, channels=4, inputs="r"),
        g3=op("conv", kernel=1, groups=3, channels=6, inputs="r"),
        x=op("conv", kernel=1, groups=12, channels=24, inputs="r"),
        sl=op("slice", dim=1, start=2, inputs="g"),
    ),
    "channels-group-norm": spec(
        [4, 3, 2],
        g=op("group_norm", groups=2),
        h=op("group_norm", groups=4, inputs="input"),
        c=op("conv", kernel=3, padding=1, inputs="input"),
        i=op("group_norm", groups=4),
        j=op("instance_norm", inputs="c"),
    ),
    "channels-norms": spec(
        [4, 6],
        c=op("conv", kernel=3, padding=1),
        i="instance_norm",
        g=op("group_norm", groups=2, inputs="c"),
        sm=op("softmax", inputs="c"),
        sm2=op("softmax", dim=2, inputs="c"),
        gp=op("global_avg_pool", inputs="c"),
        m=op("mul", inputs=["gp", "c"]),
        e=op("conv", kernel=3, padding=1),
    ),
    # Recurrences and scans: the two halves of a bidirectional one, and a past that is not in order.
    "rnn-halves": spec(
        [2, 5],
        r=op("lstm", channels=3, bidirectional=True),
        a=op("slice", dim=1, stop=3),
        b=op("slice", dim=1, start=3, inputs="r"),
        c=op("lstm", channels=2, inputs="input"),
        d=op("index", dim=1, index=[2, 3], inputs="r"),
    ),
    "rnn-joined": spec(
        [2, 7],
        c=op("conv", kernel=3, stride=2, padding=1),
        r=op("lstm", channels=3, bidirectional=True),
        a=op("slice", dim=1, stop=3),
        b=op("slice", dim=1, start=3, inputs="r"),
        u=op("upsample", scale=2, inputs="b"),
        cs="cumsum",
        m=op("add", inputs=["a", "b"]),
    ),
    "rnn-tokens": spec(
        [3, 4],
        r=op("gru", channels=3, dim=1, bidirectional=True),
        t=op("permute", order=[0, 2, 1]),
        c=op("conv", kernel=2),
    ),
    "scan-joined": spec(
        {"a": [1, 3], "b": [1, 3]}, cat=op("concat", dim=2, inputs=["a", "b"]), c="cumsum"
    ),
    "scan-scrambled": spec([1, 4], i=op("index", dim=2, index=[2, 0, 3, 1]), c="cumsum"),
    "scan-mirrored-pairs": spec(
        [1, 6],
        r=op("reshape", shape=[1, 1, 3, 2]),
        f=op("flip", dims=[3]),
        b=op("reshape", shape=[1, 1, 6]),
        c="cumsum",
    ),
    "scan-phases": spec(
        [1, 6],
        u=op("conv_transpose", kernel=3, stride=2, padding=1),
        c="cumsum",
        f="flip",
        g="cumsum",
    ),
    # Attention: shifted windows (by a whole window too), windows of the whole axis, contexts.
    "attention-kinds": spec(
        [2, 6],
        w=op("attention", kind="window", window=3, shift=1),
        w2=op("attention", kind="window", window=3, shift=3, inputs="input"),
        w3=op("attention", kind="window", window=6, shift=2, inputs="input"),
        sl=op("attention", kind="sliding", window=4, inputs="input"),
        s3=op("attention", kind="sliding", window=3, inputs="input"),
        c=op("attention", kind="causal", inputs="input"),
        x=op("attention", inputs=["input", "c"]),
        w4=op("attention", kind="window", window=3, shift=2, inputs="input"),
    ),
    "attention-contexts": spec(
        {"q": [2, 5], "k": [2, 5], "v": [2, 5]},
        w=op("attention", kind="sliding", window=3, inputs=["q", "k", "v"]),
        f=op("attention", inputs=["q", "k"]),
        g=op("attention", kind="causal", inputs=["q", "v", "k"]),
    ),
    "attention-strided": spec(
        [1, 26, 13],
        c=op("conv", kernel=3, stride=2, padding=[1, 0]),
        sl=op("slice", dim=2, stop=12),
        w=op("attention", kind="window", window=[4, 3], shift=[1, 2]),
        d=op("conv", kernel=3, padding=1),
    ),
    "attention-tokens": spec(
        [2, 4, 6],
        p=op("permute", order=[0, 2, 3, 1]),
        a=op("attention", kind="window", dims=[1, 2], window=[2, 3], shift=[1, 1]),
        b=op("attention", kind="causal", dims=[1]),
        c=op("attention", kind="sliding", dims=[2], window=2),
        d=op("flatten", start=1, end=2),
        e=op("attention", kind="window", dims=[1], window=6, shift=2),
        f=op("attention", kind="sliding", dims=[1], window=5),
    ),
    # Tokens: a class token beside a flattened map, cut and taken back to a map.
    "tokens-class": spec(
        [2, 4, 3],
        t=op("flatten", start=2),
        p=op("permute", order=[0, 2, 1]),
        cls=op("slice", dim=1, stop=1),
        k=op("concat", dim=1, inputs=["cls", "p"]),
        l=op("linear", features=3),
        sl=op("slice", dim=1, start=1),
        q=op("permute", order=[0, 2, 1]),
        r=op("reshape", shape=[1, 3, 4, 3]),
        c=op("conv", kernel=3, padding=0),
    ),
    "tokens-doubled": spec(
        [2, 4, 3],
        t=op("flatten", start=2),
        k=op("concat", dim=2, inputs=["t", "t"]),
        sl=op("slice", dim=2, start=5, stop=17),
        r=op("reshape", shape=[1, 2, 4, 3]),
        c=op("conv", kernel=3, padding=1),
    ),
    "tokens-cut": spec(
        [2, 4, 6],
        t=op("flatten", start=2),
        sl=op("slice", dim=2, start=5, stop=20),
        r=op("reshape", shape=[1, 2, 5, 3]),
        k=op("concat", dim=3, inputs=["r", "r"]),
        c=op("conv", kernel=[3, 2], padding=1),
        f=op("flatten", start=2),
        cs="cumsum",
    ),
    "tokens-and-back": spec(
        [2, 4, 3],
        t=op("flatten", start=2),
        p=op("permute", order=[0, 2, 1]),
        cls=op("slice", dim=1, stop=1),
        k=op("concat", dim=1, inputs=["cls", "p"]),
        l=op("linear", features=3),
        sl=op("slice", dim=1, start=1),
        sl2=op("slice", dim=1, start=3, stop=11, inputs="l"),
        q=op("permute", order=[0, 2, 1], inputs="sl"),
        r=op("reshape", shape=[1, 3, 4, 3]),
        c=op("conv", kernel=3),
    ),
    # Concatenation along an axis: seams, parts in and out of order, parts from other inputs.
    "concat-axis": spec(
        [2, 6, 4],
        a=op("conv", kernel=3, padding=1),
        b=op("concat", dim=2, inputs=["input", "a", "input"]),
        c=op("conv", kernel=3, padding=1),
        d=op("slice", dim=2, start=6, stop=12, inputs="b"),
        e=op("flip", dims=[2], inputs="b"),
        f=op("cumsum", dim=2, inputs="b"),
        g=op("flatten", start=2, inputs="b"),
        h=op("slice", dim=2, start=10, stop=50),
        i=op("reshape", shape=[1, 2, 10, 4]),
        j=op("mean", dims=[2], inputs="b"),
        k=op("max_pool", kernel=2, dilation=[4, 1], inputs="b"),
    ),
    "concat-parts": spec(
        [2, 6],
        a=op("slice", dim=2, stop=4),
        b=op("slice", dim=2, start=4, inputs="input"),
        k=op("concat", dim=2, inputs=["a", "b"]),
        sw=op("concat", dim=2, inputs=["b", "a"]),
        c=op("conv", kernel=3, padding=1, inputs="k"),
        ch=op("concat", inputs=["a", "a", "b2"]),
        b2=op("slice", dim=2, start=2, inputs="input"),
    ),
    # Dims made of (2, 3) and of (3, 2), which have no common factors, side by side and then again.
    "concat-factors": spec(
        [2, 3, 2],
        a=op("pixel_shuffle", factor=[2, 1]),
        b=op("reshape", shape=[1, 1, 2, 3, 2, 1]),
        c=op("permute", order=[0, 1, 2, 4, 3, 5]),
        d=op("reshape", shape=[1, 1, 6, 2]),
        e=op("concat", inputs=["d", "a"]),
        f=op("concat", inputs=["e", "d"]),
        g=op("group_norm", groups=1),
        h=op("select", dim=1, index=1, inputs="f"),
    ),
    "concat-flat": spec(
        {"a": [2, 6], "b": [2, 2, 3]},
        fb=op("flatten", start=2, inputs="b"),
        k=op("concat", inputs=["a", "fb"]),
        k2=op("concat", inputs=["fb", "a"]),
        j=op("add", inputs=["a", "fb"]),
        r=op("reshape", shape=[1, 2, 2, 3], inputs="j"),
        r3=op("reshape", shape=[1, 2, 3, 2], inputs="j"),
    ),
    "concat-inputs": spec(
        {"a": [3, 6], "b": [2, 3, 6]},
        ca=op("conv", kernel=3, padding=1, inputs="a"),
        cb=op("conv", kernel=3, padding=1, inputs="b"),
        j=op("add", inputs=["ca", "cb"]),
        c=op("conv", kernel=[3, 1], padding=[1, 0]),
        u=op("unsqueeze", dim=2, inputs="ca"),
        k=op("concat", inputs=["u", "u"], dim=2),
        g=op("conv", kernel=3, padding=1),
    ),
    "concat-kept": spec(
        [4, 8],
        r=op("mean", dims=[2], keepdim=True),
        e=op("upsample", size=6),
        c=op("conv", kernel=3, padding=1),
        j=op("add", inputs=["c", "r"]),
        t=op("conv_transpose", kernel=1, stride=3, inputs="r"),
        k=op("concat", dim=2, inputs=["t", "input"]),
        g=op("conv", kernel=3, padding=1),
    ),
    "concat-mean-dilated": spec(
        {"a": [1, 4], "b": [1, 6]},
        m=op("mean", dims=[2], keepdim=True, inputs="a"),
        cat=op("concat", dim=2, inputs=["m", "b"]),
        pool=op("max_pool", kernel=2, stride=1, dilation=3, padding=3),
    ),
    "concat-mean-dilated-2": spec(
        {"a": [1, 4], "b": [1, 6]},
        m=op("mean", dims=[2], keepdim=True, inputs="a"),
        cat=op("concat", dim=2, inputs=["m", "b"]),
        pool=op("max_pool", kernel=2, stride=1, dilation=2, padding=2),
    ),
    "concat-mean-first": spec(
        {"a": [1, 4], "b": [1, 4]},
        m=op("mean", dims=[2], keepdim=True, inputs="a"),
        cat=op("concat", dim=2, inputs=["m", "b"]),
        out=op("slice", dim=2, start=1),
        c=op("conv", kernel=3, stride=2, padding=1, inputs="cat"),
    ),
    "concat-mean-last": spec(
        {"a": [1, 4], "b": [1, 4]},
        m=op("mean", dims=[2], keepdim=True, inputs="a"),
        cat=op("concat", dim=2, inputs=["b", "m"]),
        out=op("slice", dim=2, stop=4),
        c=op("conv", kernel=2, stride=2, inputs="cat"),
    ),
    "concat-run-mixed": spec(
        {"a": [1, 12], "b": [1, 4]},
        r=op("reshape", shape=[1, 1, 4, 3], inputs="a"),
        s=op("slice", dim=3, stop=2),
        b4=op("reshape", shape=[1, 1, 4, 1], inputs="b"),
        cat=op("concat", dim=3, inputs=["s", "b4"]),
        m=op("mean", dims=[3]),
    ),
    "concat-run-split": spec(
        {"a": [1, 5], "b": [1, 7]},
        cat=op("concat", dim=2, inputs=["a", "b"]),
        r=op("reshape", shape=[1, 1, 3, 4]),
        tail=op("slice", dim=2, start=1),
        cat2=op("concat", dim=2, inputs=["b", "a"]),
        r2=op("reshape", shape=[1, 1, 4, 3]),
        r3=op("reshape", shape=[1, 1, 2, 6], inputs="cat2"),
    ),
    "concat-runs": spec(
        {"a": [1, 2, 2], "b": [1, 2, 1], "c": [1, 1, 3]},
        cw=op("concat", dim=3, inputs=["a", "b"]),
        ch=op("concat", dim=2, inputs=["cw", "c"]),
        f=op("flatten", start=2),
        t=op("slice", dim=2, step=2),
        u=op("index", dim=2, index=[8, 7, 6, 1, 0], inputs="f"),
    ),
    "concat-seam-dilated": spec(
        {"a": [1, 2, 1], "b": [1, 2, 6]},
        cat=op("concat", dim=3, inputs=["a", "b"]),
        pool=op("max_pool", kernel=[1, 2], stride=1, dilation=[1, 3], padding=[0, 3]),
    ),
    "concat-seam-dilated-2": spec(
        {"a": [1, 2, 1], "b": [1, 2, 6]},
        cat=op("concat", dim=3, inputs=["a", "b"]),
        pool=op("max_pool", kernel=[1, 2], stride=1, dilation=[1, 2], padding=[0, 2]),
    ),
    "concat-seam-start": spec(
        {"a": [1, 2, 2], "b": [1, 2, 3]},
        cat=op("concat", dim=3, inputs=["a", "b"]),
        out=op("slice", dim=3, start=2),
        c=op("conv", kernel=[1, 2], stride=[1, 2], inputs="cat"),
        d=op("conv", kernel=[1, 3], padding=[0, 2], inputs="cat"),
        e=op("slice", dim=3, start=1, step=2, inputs="cat"),
        f=op("flip", dims=[3], inputs="cat"),
        g=op("upsample", scale=2, inputs="cat"),
        h=op("conv_transpose", kernel=2, stride=3, inputs="cat"),
        i=op("roll", shift=1, dims=[3], inputs="cat"),
        p=op("pad", padding=[[0, 0], [2, 2]], mode="reflect", inputs="cat"),
    ),
    "concat-seam-stop": spec(
        {"a": [1, 2, 2], "b": [1, 2, 3]},
        cat=op("concat", dim=3, inputs=["b", "a"]),
        out=op("slice", dim=3, stop=3),
        c=op("conv", kernel=[1, 3], stride=[1, 2], padding=[0, 1], inputs="cat"),
        d=op("max_pool", kernel=[1, 3], stride=1, padding=[0, 2], dilation=[1, 2], inputs="cat"),
        e=op("adaptive_avg_pool", size=[2, 3], inputs="cat"),
        f=op("flip", dims=[3], inputs="cat"),
        m=op("mean", dims=[3], inputs="cat"),
    ),
    # Joins and reductions: three reads of one input, gates, and extents of maps with gaps.
    "join-three": spec(
        [1, 9],
        a=op("conv", kernel=3),
        b=op("slice", dim=2, start=2, inputs="input"),
        c=op("slice", dim=2, stop=7, inputs="input"),
        d=op("add", inputs=["b", "a", "c"]),
        e=op("where", inputs=["a", "b", "c"]),
        f=op("add", inputs=["c", "c", "b"]),
    ),
    "join-reach": spec(
        [1, 9],
        a=op("slice", dim=2, stop=4),
        b=op("slice", dim=2, start=5, inputs="input"),
        j=op("add", inputs=["a", "b"]),
        m=op("mean", dims=[2]),
        g=op("mean", dims=[2], keepdim=True, inputs="a"),
        h=op("add", inputs=["g", "b"]),
        n=op("mean", dims=[2]),
        st=op("slice", dim=2, step=3, inputs="input"),
        ms=op("conv", kernel=2),
        mm=op("mean", dims=[2], inputs="st"),
        mc=op("mean", dims=[2], inputs="ms"),
        cc=op("concat", inputs=["a2", "b2"]),
        a2=op("slice", dim=2, stop=3, inputs="input"),
        b2=op("slice", dim=2, start=6, inputs="input"),
        m3=op("mean", dims=[1, 2], inputs="cc"),
    ),
    "join-gate": spec(
        [2, 6, 4],
        r=op("mean", dims=[2], keepdim=True),
        j=op("add", inputs=["r", "input"]),
        m=op("mean", dims=[3], inputs="j"),
        c=op("conv", kernel=3, padding=1, inputs="j"),
        rr=op("mean", dims=[2, 3], keepdim=True, inputs="c"),
        b=op("mul", inputs=["rr", "input"]),
    ),
    "join-reduced": spec(
        [2, 5, 4],
        c=op("conv", kernel=3, padding=1),
        r=op("mean", dims=[2], keepdim=True),
        j=op("add", inputs=["r", "input"]),
        k=op("mul", inputs=["r", "c"]),
        p=op("pad", padding=2, inputs="r"),
        q=op("pad", padding=[[2, 2], [0, 1]], mode="constant", inputs="k"),
        z=op("conv", kernel=3, padding=2),
    ),
    # Unknown operators: bounds, beside exact layers and in channels of their own.
    "opaque-joined": spec(
        [2, 4, 4],
        a=op("conv", kernel=3, padding=1),
        o=op("opaque", shape=[1, 2, 4, 4]),
        c=op("concat", inputs=["a", "o"]),
        sl=op("slice", dim=1, stop=2),
        j=op("add", inputs=["a", "o"]),
    ),
    "opaque-inputs": spec(
        {"a": [2, 5], "b": [2, 5]},
        o=op("opaque", inputs=["a", "b"], shape=[1, 2, 3]),
        o2=op("opaque", inputs=["a", "b"]),
    ),
}

# Big windows, which are made by doubling: odd and even, at and around powers of two.
for kernel in (9, 12, 15, 16, 17, 23, 31, 32, 33, 40):
    half = kernel // 2
    CORPUS[f"big-conv-{kernel}"] = spec([1, 41], c=op("conv", kernel=kernel, padding=half))
    CORPUS[f"big-pool-{kernel}"] = spec(
        [1, 41],
        p=op(
            "max_pool",
            kernel=kernel,
            padding=half,
            stride=3,
            dilation=2 if kernel < 25 else 1,
        ),
        c=op("conv", kernel=9, padding=4),
    )


# Interpolation: every mode, to sizes and by scales, whole or not, up and down.
def _resizes(mode: str, n: int) -> Spec:
    ways: dict[str, dict[str, Any]] = {}
    for scale in (2, 3, 1, 1.5, 0.5, 1.3, 1.2, 2.5, 0.4):
        ways[f"by_{scale}"] = {"scale": scale}
    for size in (1, 3, 4, 5, 7, 9):
        ways[f"to_{size}"] = {"size": size}
    if mode in ("linear", "cubic"):
        ways |= {f"{way}_corners": {**ways[way], "align_corners": True} for way in list(ways)}
    resized = {way: op("upsample", mode=mode, inputs="input", **ways[way]) for way in ways}
    return spec([1, n], **resized)


for mode in ("nearest", "nearest-exact", "linear", "cubic", "area"):
    for n in (4, 7):
        CORPUS[f"resize-{mode}-{n}"] = _resizes(mode, n)


# Words for padding: even and odd inputs, kernels, strides; dilated or not.
CORPUS["padding-words"] = spec(
    {"odd": [1, 7], "even": [1, 8]},
    **{
        f"{word}_{source}_{k}_{s}_{d}": op(
            "conv", kernel=k, stride=s, dilation=d, padding=word, inputs=source
        )
        for word in ("same", "same_lower", "causal")
        for source in ("odd", "even")
        for k in (1, 2, 3)
        for s in (1, 2, 3)
        for d in (1, 2)
    },
)

# Channels of two inputs, of which some read a window: one operator, then each channel by itself.
CHANNELS: dict[str, tuple[Layer, int]] = {
    "group-norm-2": (op("group_norm", groups=2), 4),
    "group-norm-4": (op("group_norm", groups=4), 4),
    "group-norm-1": (op("group_norm", groups=1), 4),
    "lrn-2": (op("local_response_norm", size=2), 4),
    "lrn-3": (op("local_response_norm", size=3), 4),
    "lrn-4": (op("local_response_norm", size=4), 4),
    "channel-shuffle": (op("channel_shuffle", groups=2), 4),
    "conv-2-groups": (op("conv", kernel=3, groups=2, channels=6), 6),
    "conv-4-groups": (op("conv", kernel=2, groups=4, channels=8), 8),
    "conv-transpose": (op("conv_transpose", kernel=3, stride=2, groups=2), 4),
    "conv": (op("conv", kernel=3, channels=4), 4),
    "depthwise": (op("conv", kernel=3, groups=4), 4),
    "pixel-shuffle": (op("pixel_shuffle", factor=2), 2),
    "pixel-unshuffle": (op("pixel_unshuffle", factor=5), 20),
    "instance-norm": (op("instance_norm"), 4),
    "layer-norm": (op("layer_norm", dims=[1, 2]), 4),
    "layer-norm-channels": (op("layer_norm", dims=[1]), 4),
    "softmax-axis": (op("softmax", dim=2), 4),
    "mix": (op("mix", dims=[1, 2]), 4),
    "mix-axis": (op("mix", dims=[2]), 4),
    "linear": (op("linear", features=4, dim=1), 4),
    "short-form": ([3, 1, 1], 4),
    "attention": (op("attention"), 4),
    "attention-causal": (op("attention", kind="causal"), 4),
    "gru": (op("gru", bidirectional=True, channels=2), 4),
    "flip": (op("flip", dims=[1, 2]), 4),
    "flip-channels": (op("flip", dims=[1]), 4),
    "roll-channels": (op("roll", shift=1, dims=[1]), 4),
    "roll-both": (op("roll", shift=[-1, 2], dims=[1, 2]), 4),
    "cumsum": (op("cumsum", dim=1), 4),
    "index": (op("index", dim=1, index=[3, 0, 2, 2]), 4),
    "attention-sliding-channels": (op("attention", dims=[1], kind="sliding", window=3), 4),
    "attention-window-channels": (op("attention", dims=[1], kind="window", window=2, shift=1), 4),
    "attention-whole-window-channels": (
        op("attention", dims=[1], kind="window", window=4, shift=1),
        4,
    ),
    "mean": (op("mean", dims=[2], keepdim=True), 4),
    "global-pool": (op("global_avg_pool"), 4),
    "opaque": (op("opaque", shape=[1, 4, 5]), 4),
}
for name, (last, count) in CHANNELS.items():
    CORPUS[f"two-inputs-{name}"] = spec(
        {"a": [2, 5], "b": [2, 5]},
        window=op("conv", kernel=3, padding=1, groups=2, inputs="a"),
        both=op("concat", inputs=["window", "b"]),
        last=last,
        **{f"channel{i}": op("index", dim=1, index=[i], inputs="last") for i in range(count)},
    )
