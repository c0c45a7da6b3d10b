"""Odd graphs drawn at random, for folds that run without the proof: what a graph may hold, not what nets do hold.

Ranks 0 to 4, dims of 1 that broadcast, sizes that coincide, constants on either side, initializers that several nodes
read or a caller may override, values read several times or given out, subgraphs, chains of integers, names like those
that folds give; if `harsh`, constants that are not finite or overflow.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
OPSETS = (*range(7, 24), 13, 17, 17, 21)
HARSH = (np.inf, -np.inf, np.nan, 1e30, -1e30, 1e20, 1e-30, 1e-38, 3e38)
UNARY = {
    **dict.fromkeys(("Relu", "Tanh", "Sigmoid", "Abs", "Elu", "Selu", "LeakyRelu", "Softsign", "Softplus", "Neg"), 7),
    **dict.fromkeys(("Identity", "Exp", "Sqrt", "Reciprocal", "HardSigmoid", "Dropout", "Log"), 7),
    "Erf": 9,
    "ThresholdedRelu": 10,
    "Celu": 12,
    "HardSwish": 14,
    "Mish": 18,
    "Gelu": 20,
    "Atan": 7,
}
DIMS = (1, 2, 3, 4, 6)


class Wild:
    """One random graph: `model`, `feeds(rng, kind)`, and `scores`, by output that is a label what decides it."""

    def __init__(self, seed, harsh=False):
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice(OPSETS))
        self.harsh = harsh
        self.batch = int(self.rng.choice((1, 2, 3, 4, 6)))
        self.nodes, self.constants, self.pool, self.labels = [], {}, {}, {}
        self.scores, self.overridable, self.inputs, self.count = {}, [], {}, 0
        for i in range(1 if self.chance(0.75) else 2):
            self.add_input("x" if i == 0 else "x_fused")
        for _ in range(self.rng.integers(2, 12)):
            self.step()
        if self.chance(0.4):
            self.tail()
        self.model = self.build()

    # --- drawing ---

    def chance(self, p):
        return self.rng.random() < p

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    def add_input(self, name):
        rank = int(self.rng.choice((0, 1, 2, 2, 2, 2, 2, 2, 3, 4)))
        dims = [self.batch, *(self.pick(DIMS) for _ in range(rank - 1))][:rank]
        stated = ["N", *dims[1:]] if rank and self.chance(0.6) else list(dims)
        if rank > 1 and self.chance(0.1):
            stated[-1] = "L"
        self.inputs[name] = (tuple(dims), stated)
        self.pool[name] = tuple(dims)

    def value(self, test=lambda shape: True):
        """A value of the pool that suits, the latest the likeliest."""
        names = [name for name, shape in self.pool.items() if test(shape)]
        if not names:
            return None
        return names[-1] if self.chance(0.7) else self.pick(names)

    def name(self):
        self.count += 1
        if self.chance(0.05):
            old = f"{self.pick([*self.constants, *self.pool])}{self.pick(['_fused', '_constant', '_bias', '_logit'])}"
            if old not in self.constants and old not in self.pool and old not in self.labels:
                return old
        return f"v{self.count}"

    def numbers(self, shape):
        values = self.rng.normal(size=shape)
        kind = self.rng.integers(8)
        if kind == 0:
            values = np.ones(shape)
        elif kind == 1:
            values = np.zeros(shape)
        elif kind == 2:
            values = np.round(values)
        if self.harsh:  # a factor of 0 gives zeros of either sign, which folds do not tell apart, but 1 / 0 does
            values = np.where(values == 0, 1.0, values)
        if self.harsh and self.chance(0.2):
            values = np.array(values, np.float64)
            flat = values.reshape(-1)
            if flat.size:
                flat[: flat.size if self.chance(0.3) else 1] = self.pick(HARSH)
        return values

    def const(self, shape, values=None, dtype=np.float32):
        if values is None and dtype == np.float32:
            alike = [n for n, a in self.constants.items() if a.shape == tuple(shape) and a.dtype == np.float32]
            if alike and self.chance(0.25):
                return self.pick(alike)
        name = f"c{len(self.constants)}"
        with np.errstate(all="ignore"):
            array = np.asarray(self.numbers(tuple(shape)) if values is None else values).astype(dtype)
        self.constants[name] = array.reshape(shape)
        if values is None and dtype == np.float32 and self.chance(0.02):
            self.overridable.append(name)
        return name

    def ints(self, values):
        values = np.array(values, np.int64)
        return self.const(values.shape, values, np.int64)

    def node(self, op, inputs, shape, count=1, **attributes):
        outputs = [self.name() for _ in range(count)]
        label = self.pick(["", f"n{len(self.nodes)}"]) if self.chance(0.3) else f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, outputs, name=label, **attributes))
        if shape is not None:
            for output in outputs:
                self.pool[output] = tuple(shape)
        return outputs[0]

    # --- steps: each adds nodes, or nothing where the pool does not suit ---

    def step(self):
        steps = (
            [self.dense] * 5 + [self.by_constant] * 5 + [self.unary] * 3 + [self.batch_norm] * 3 + [self.move] * 4
            + [self.matmul, self.pair, self.conv, self.concat, self.part, self.reduce, self.integers, self.branch]
            + [self.clip, self.widths, self.constants_alone, self.mish, self.scaler, self.loop, self.cast]
            + [self.hidden] * 2 + [self.two_classes, self.joined, self.joined, self.columns, self.channels_last]
            + [self.lookup, self.by_shape]
        )  # fmt: skip
        self.pick(steps)()

    def dense(self):
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        rows, columns = self.pool[x]
        if self.chance(0.1):
            return self.odd_gemm(x)
        width = self.pick((*DIMS, columns, rows))
        weight = self.numbers((columns, width))
        if self.chance(0.3) and not self.harsh:
            weight[:, 0] = 0
        if self.chance(0.3):
            weight[:, -1] = weight[:, 0]
        if self.chance(0.2):
            weight[0] = 0
        if self.chance(0.4):
            y = self.node("MatMul", [x, self.const((columns, width), weight)], (rows, width))
            if self.chance(0.6):
                pair = [y, self.const(self.pick([(width,), (1, width), (), (1,)]))]
                self.node("Add", pair if self.chance(0.6) else pair[::-1], (rows, width))
            return
        attributes = {k: float(self.rng.normal()) for k in ("alpha", "beta") if self.chance(0.2)}
        if trans := self.chance(0.4):
            attributes["transB"], weight = 1, weight.T
        inputs = [x, self.const(weight.shape, weight)]
        if self.opset < 11 or self.chance(0.8):
            shapes = [(width,)] * 4 + [(1, width), (1,), (1, 1), (rows, 1), (rows, width)]
            inputs.append(self.const(self.pick(shapes + [()] * (self.opset >= 11))))
        elif self.chance(0.3):
            inputs.append("")
        assert trans or "transB" not in attributes
        self.node("Gemm", inputs, (rows, width), **attributes)

    def layer(self, x, width):
        """A plain dense layer, of which units may be constant, twins, or read by nothing."""
        rows, columns = self.pool[x]
        weight = self.numbers((columns, width))
        if self.chance(0.4):
            weight[:, 0] = 0
        if self.chance(0.4):
            weight[0] = 0
        if self.chance(0.4):
            weight[:, -1] = weight[:, width // 2]
        bias = self.const((width,), np.full(width, self.rng.normal()) if self.chance(0.5) else None)
        return self.node("Gemm", [x, self.const((columns, width), weight), bias], (rows, width))

    def hidden(self):
        """Dense, something value by value, dense."""
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        rows, _ = self.pool[x]
        width = self.pick((2, 3, 4, 6, 6, 130, 400))
        h = self.layer(x, width)
        for _ in range(self.rng.integers(1, 4)):
            known = [op for op, opset in UNARY.items() if opset <= self.opset]
            kind = self.rng.integers(4)
            if kind == 0:
                h = self.node(
                    self.pick(["Mul", "Add", "Div", "Max"]),
                    [h, self.const(self.pick([(), (1,), (1, 1)]))],
                    (rows, width),
                )
            elif kind == 1:
                h = self.node("Mul", [h, self.node("Sigmoid", [h], (rows, width))], (rows, width))
            else:
                h = self.node(self.pick([*known, "Relu", "Relu", "Softplus"]), [h], (rows, width))
        self.layer(h, self.pick(DIMS))
        if self.chance(0.2):
            self.layer(h, self.pick(DIMS))

    def two_classes(self):
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        rows, _ = self.pool[x]
        p = self.node("Sigmoid", [self.layer(x, 1)], (rows, 1))
        q = self.node("Sub", [self.const(self.pick([(), (1,)]), 1.0), p], (rows, 1))
        self.node("Concat", [p, q] if self.chance(0.5) else [q, p], (rows, 2), axis=1)

    def joined(self):
        """Dense layers of one input, added or side by side, and an affine map of both."""
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        rows, _ = self.pool[x]
        width = self.pick(DIMS)
        branches = [self.layer(x, width) for _ in range(2)]
        if self.chance(0.5):
            y = self.node(
                self.pick(["Add", "Sub", "Sum"] if self.opset >= 8 else ["Add", "Sub"]), branches, (rows, width)
            )
        else:
            width *= 2
            y = self.node("Concat", branches, (rows, width), axis=1)
        if self.chance(0.5):
            names = [*(self.const((width,)) for _ in range(3)), self.const((width,), self.rng.uniform(0.1, 2, width))]
            self.node("BatchNormalization", [y, *names], (rows, width))
        else:
            self.node(
                self.pick(["Mul", "Add", "Sub"]), [y, self.const(self.pick([(width,), (), (1, width)]))], (rows, width)
            )

    def columns(self):
        """Columns picked in parts, perhaps scaled, joined, and read by a dense layer."""
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        rows, width = self.pool[x]
        parts = []
        for _ in range(self.rng.integers(1, 4)):
            places = self.rng.permutation(width)[: self.rng.integers(1, width + 1)]
            places = places - width * self.rng.integers(0, 2, places.size)  # some counted from the end
            part = self.node("Gather", [x, self.ints(places)], (rows, places.size), axis=int(self.pick((1, -1))))
            if self.chance(0.4):
                part = self.node(self.pick(["Mul", "Sub"]), [part, self.const((places.size,))], (rows, places.size))
            parts.append(part)
        size = sum(self.pool[part][1] for part in parts)
        y = self.node("Concat", parts, (rows, size), axis=1) if len(parts) > 1 else parts[0]
        self.layer(y, self.pick(DIMS))

    def channels_last(self):
        """A convolution, transposed, an affine map and functions of single values, and perhaps transposed again."""
        x = self.value(lambda s: len(s) == 4)
        if x is None:
            return
        n, c, height, width = self.pool[x]
        out = self.pick((1, 2, 3))
        y = self.node("Conv", [x, self.const((out, c, 1, 1))], (n, out, height, width))
        order = [0, *(int(axis) for axis in self.pick(([2, 3, 1], [3, 2, 1], [1, 3, 2])))]
        shape = tuple(self.pool[y][axis] for axis in order)
        y = self.node("Transpose", [y], shape, perm=order)
        for _ in range(self.rng.integers(1, 3)):
            y = self.node(
                self.pick(["Mul", "Add"]), [y, self.const(self.pick([(shape[-1],), (1, shape[1], 1, 1)]))], shape
            )
        y = self.node(self.pick(["Relu", "Tanh"]), [y], shape)
        if self.chance(0.5):
            back = [0, *(int(axis) for axis in self.pick(([3, 1, 2], [3, 2, 1], [1, 3, 2])))]
            self.node("Transpose", [y], tuple(shape[axis] for axis in back), perm=back)
        else:
            size = int(np.prod(shape[1:]))
            self.layer(self.node("Flatten", [y], (n, size)), self.pick(DIMS))

    def lookup(self):
        """Rows of a table by constant places, and a dense layer."""
        rows, size = self.pick(DIMS), self.pick(DIMS)
        places = self.ints(self.rng.integers(-3, 3, rows))
        self.layer(self.node("Gather", [self.const((3, size)), places], (rows, size)), self.pick(DIMS))

    def by_shape(self):
        """A Reshape to rows of whatever else there is, computed from the shape."""
        x = self.value(lambda s: 2 <= len(s) <= 4)
        if x is None or self.opset < 13:
            return
        s = self.pool[x]
        shape = self.node("Shape", [x], None)
        first = self.node("Gather", [shape, self.ints([0])], None)
        size = int(np.prod(s[1:]))
        target = self.node("Concat", [first, self.ints([self.pick((-1, size))])], None, axis=0)
        y = self.node("Reshape", [x, target], (s[0], size))
        if self.chance(0.6):
            self.layer(y, self.pick(DIMS))

    def odd_gemm(self, x):
        """The constant first, or the input transposed."""
        rows, columns = self.pool[x]
        if self.chance(0.5):
            k = self.pick(DIMS)
            inputs, shape = [self.const((k, rows)), x], (k, columns)
            extra = {}
        else:
            k = self.pick(DIMS)
            inputs, shape, extra = [x, self.const((rows, k))], (columns, k), {"transA": 1}
        self.node("Gemm", [*inputs, self.const((shape[1],))], shape, **extra)

    def matmul(self):
        x = self.value(lambda s: len(s) >= 1)
        if x is None:
            return
        s = self.pool[x]
        k, w = s[-1], self.pick(DIMS)
        kind = self.rng.integers(5)
        if kind == 0:
            self.node("MatMul", [x, self.const((k,))], s[:-1])
        elif kind == 1:
            self.node("MatMul", [x, self.const((1, k, w))], np.matmul(np.zeros(s), np.zeros((1, k, w))).shape)
        elif kind == 2:
            first = self.const((w, s[-2])) if len(s) > 1 else self.const((w, k))
            self.node("MatMul", [first, x], np.matmul(np.zeros((w, s[-2] if len(s) > 1 else k)), np.zeros(s)).shape)
        else:
            self.node("MatMul", [x, self.const((k, w))], (*s[:-1], w))

    def broadcastable(self, s):
        """The shape of a constant that goes with `s`, and seldom widens it."""
        shape = tuple(s[self.rng.integers(len(s) + 1) :]) if s else ()
        shape = tuple(1 if self.chance(0.25) else d for d in shape)
        if self.chance(0.06):
            shape = (*(1,) * (len(s) - len(shape) + 1), *shape)
        if self.chance(0.06) and shape and len(shape) <= 4:
            fits = [i for i in range(len(shape)) if i >= len(shape) - len(s) and s[len(s) - len(shape) + i] == 1]
            shape = tuple(self.pick(DIMS) if i in fits else d for i, d in enumerate(shape))
        if len(shape) == len(s) and s and self.chance(0.8):
            shape = (1, *shape[1:])
        return shape

    def by_constant(self):
        x = self.value(lambda s: len(s) <= 4)
        if x is None:
            return
        s = self.pool[x]
        for _ in range(self.rng.integers(1, 4)):
            shape = self.broadcastable(s)
            op = self.pick(
                ["Add", "Sub", "Mul", "Div"] * 3 + ["Max", "Min", "Pow"] if self.opset >= 8 else ["Add", "Mul"]
            )
            values = None
            if op == "Pow":
                values = np.full(shape, self.pick([2.0, 1.0, 3.0]))
            pair = [x, self.const(shape, values)]
            first = self.chance(0.3) and op != "Pow"
            s = np.broadcast_shapes(s, shape)
            x = self.node(op, pair[::-1] if first else pair, s)

    def pair(self):
        a = self.value()
        s = self.pool[a]

        def fits(t):
            try:
                return len(np.broadcast_shapes(s, t)) <= max(4, len(s))
            except ValueError:
                return False

        b = self.pick([name for name, t in self.pool.items() if fits(t)])
        op = self.pick(["Add", "Sub", "Mul", "Sum", "Max"] if self.opset >= 8 else ["Add", "Sub", "Mul"])
        self.node(op, [a, b], np.broadcast_shapes(s, self.pool[b]))

    def unary(self):
        op = self.pick([op for op, opset in UNARY.items() if opset <= self.opset])
        x = self.value()
        more = {}
        if op in ("LeakyRelu", "Elu", "Celu", "ThresholdedRelu") and self.chance(0.5):
            more["alpha"] = float(self.pick([0.5, 2.0, -0.5] if op != "Celu" else [0.5, 2.0]))
        self.node(op, [x], self.pool[x], **more)

    def batch_norm(self):
        x = self.value(lambda s: len(s) >= 2)
        if x is None:
            return
        c = self.pool[x][1]
        variance = np.abs(self.numbers((c,))) + (0.1 if self.chance(0.9) else 0)
        names = [*(self.const((c,)) for _ in range(3)), self.const((c,), variance)]
        more = {"epsilon": float(self.pick([1e-5, 1e-3, 0.1, 0.0]))} if self.chance(0.5) else {}
        y = self.node("BatchNormalization", [x, *names], self.pool[x], **more)
        if self.chance(0.5):
            self.node("Relu", [y], self.pool[x])

    def conv(self):
        x = self.value(lambda s: len(s) in (3, 4))
        if x is None:
            return
        s = self.pool[x]
        groups = self.pick([g for g in (1, 2, 3) if s[1] % g == 0])
        out = groups * self.pick((1, 2))
        flipped = self.chance(0.4)
        shape = (s[1], out // groups) if flipped else (out, s[1] // groups)
        inputs = [x, self.const((*shape, *(1,) * (len(s) - 2)))]
        if self.chance(0.7):
            inputs.append(self.const((out,)))
        y = self.node("ConvTranspose" if flipped else "Conv", inputs, (s[0], out, *s[2:]), group=groups)
        c = self.const(self.pick([(out, *(1,) * (len(s) - 2)), (1, out, *(1,) * (len(s) - 2)), (), (s[-1],)]))
        self.node(self.pick(["Mul", "Add", "Sub"]), [y, c], (s[0], out, *s[2:]))

    def move(self):
        x = self.value()
        s = self.pool[x]
        kind = self.rng.integers(6)
        size = int(np.prod(s))
        if kind == 0 and len(s) >= 1:
            axis = int(self.rng.integers(0, len(s) + 1))
            self.node("Flatten", [x], (int(np.prod(s[:axis])), int(np.prod(s[axis:]))), axis=axis)
        elif kind == 1:
            targets = [(s, s), ((-1,), (size,)), ((1, -1), (1, size))]
            if len(s) >= 2:
                targets += [((0, -1), (s[0], size // s[0])), ((-1, *s[1:]), s), ((-1, s[-1]), (size // s[-1], s[-1]))]
                targets += [((s[0], size // s[0]), (s[0], size // s[0])), ((0, *s[1:][::-1]), (s[0], *s[1:][::-1]))]
            target, shape = self.pick(targets)
            more = {"allowzero": 1} if self.opset >= 14 and self.chance(0.2) and 0 not in target else {}
            self.node("Reshape", [x, self.ints(list(target))], shape, **more)
        elif kind == 2 and s:
            perm = [int(i) for i in self.rng.permutation(len(s))]
            y = self.node("Transpose", [x], [s[i] for i in perm], perm=perm)
            if self.chance(0.5):
                back = [int(i) for i in np.argsort(perm)] if self.chance(0.7) else perm
                self.node("Transpose", [y], [self.pool[y][i] for i in back], perm=back)
        elif kind == 3 and len(s) < 4:
            axis = int(self.rng.integers(0, len(s) + 1))
            shape = (*s[:axis], 1, *s[axis:])
            y = self.with_axes(
                "Unsqueeze", x, [axis - len(shape) if self.opset >= 11 and self.chance(0.3) else axis], shape
            )
            if self.chance(0.5):
                if self.chance(0.5):
                    y = self.node("Relu", [y], shape)
                self.squeeze(y)
        else:
            self.squeeze(x)

    def squeeze(self, x):
        s = self.pool[x]
        axes = [i for i, d in enumerate(s) if d == 1]
        if axes:
            axis = self.pick(axes)
            self.with_axes("Squeeze", x, [axis], (*s[:axis], *s[axis + 1 :]))

    def with_axes(self, op, x, axes, shape):
        if self.opset >= 13:
            return self.node(op, [x, self.ints(axes)], shape)
        return self.node(op, [x], shape, axes=axes)

    def concat(self):
        x = self.value(lambda s: len(s) >= 1)
        if x is None:
            return
        s = self.pool[x]
        axis = int(self.rng.integers(len(s)))
        others = [
            n for n, t in self.pool.items() if len(t) == len(s) and t[:axis] + t[axis + 1 :] == s[:axis] + s[axis + 1 :]
        ]
        names = [x, self.pick(others)] if self.chance(0.7) else [x, self.const((*s[:axis], 2, *s[axis + 1 :]))]
        width = sum(self.pool[n][axis] if n in self.pool else 2 for n in names)
        names = names[::-1] if self.chance(0.5) else names
        at = axis - len(s) if self.opset >= 11 and self.chance(0.3) else axis
        self.node("Concat", names, (*s[:axis], width, *s[axis + 1 :]), axis=at)

    def part(self):
        x = self.value(lambda s: len(s) >= 1 and max(s) > 1)
        if x is None:
            return
        s = self.pool[x]
        axis = self.pick([i for i, d in enumerate(s) if d > 1])
        if self.chance(0.4):
            index = int(self.rng.integers(s[axis]))
            scalar = self.chance(0.5)
            indices = self.ints(index if scalar else [index, 0])
            self.node("Gather", [x, indices], (*s[:axis], *(() if scalar else (2,)), *s[axis + 1 :]), axis=axis)
        elif self.opset >= 10 and self.chance(0.5):
            end = int(self.rng.integers(1, s[axis] + 1))
            y = [x, self.ints([0]), self.ints([end]), self.ints([axis])]
            self.node("Slice", y, (*s[:axis], end, *s[axis + 1 :]))
        elif s[axis] % 2 == 0:
            more = {"num_outputs": 2} if self.opset >= 18 else {}
            self.node("Split", [x], (*s[:axis], s[axis] // 2, *s[axis + 1 :]), count=2, axis=axis, **more)

    def reduce(self):
        x = self.value(lambda s: len(s) >= 1)
        if x is None or self.opset >= 18:
            return
        s = self.pool[x]
        axis, keep = int(self.rng.integers(len(s))), int(self.chance(0.5))
        shape = (*s[:axis], *((1,) if keep else ()), *s[axis + 1 :])
        self.node(self.pick(["ReduceMean", "ReduceMax", "ReduceMin"]), [x], shape, axes=[axis], keepdims=keep)

    def integers(self):
        """Flatten by Shape, Gather, Unsqueeze, Concat, Reshape; or an index that is squeezed to a number."""
        x = self.value(lambda s: len(s) >= 2)
        if x is None or self.opset < 9:
            return
        s = self.pool[x]
        if self.chance(0.5):
            shape = self.node("Shape", [x], None)
            rows = self.node("Gather", [shape, self.ints(self.pick([0, [0]]))], None, axis=0)
            if self.constants[self.nodes[-1].input[1]].ndim == 0:
                rows = self.with_axes("Unsqueeze", rows, [0], None)
            target = self.node("Concat", [rows, self.ints([-1])], None, axis=0)
            for name in (shape, rows, target):
                self.pool.pop(name, None)
            self.node("Reshape", [x, target], (s[0], int(np.prod(s[1:]))))
            return
        number = self.with_axes("Squeeze", self.ints([int(self.rng.integers(s[1]))]), [0], None)
        if self.chance(0.3) and self.opset >= 11:
            number = self.node("Identity", [number], None)
        y = self.node("Gather", [x, number], (s[0], *s[2:]), axis=1)
        if self.chance(0.3) and self.opset >= 11 and self.pool[y]:
            end = self.with_axes("Squeeze", self.ints([self.pool[y][-1]]), [0], None)
            steps = self.node("Range", [self.ints(0), end, self.ints(1)], None)
            self.node("Add", [y, self.node("Cast", [steps], None, to=FLOAT)], self.pool[y])

    def branch(self):
        """An If whose branches read a value from outside, and make one of a name that folds may think of."""
        x = self.value()
        s = self.pool[x]
        info = [helper.make_tensor_value_info(self.name(), FLOAT, None) for _ in range(2)]
        extra = self.const(()) if self.chance(0.5) else x
        bodies = [
            helper.make_graph([helper.make_node(op, inputs, [i.name])], "body", [], [i])
            for i, (op, inputs) in zip(info, (("Add", [x, extra]), ("Relu", [x])), strict=True)
        ]
        which = self.const((), self.chance(0.5), np.bool_)
        self.node("If", [which], s, then_branch=bodies[0], else_branch=bodies[1])

    def loop(self):
        x = self.value()
        s = self.pool[x]
        names = [self.name() for _ in range(5)]
        infos = [
            helper.make_tensor_value_info(names[0], INT64, []),
            helper.make_tensor_value_info(names[1], BOOL, []),
            helper.make_tensor_value_info(names[2], FLOAT, None),
        ]
        outs = [helper.make_tensor_value_info(names[3], BOOL, []), helper.make_tensor_value_info(names[4], FLOAT, None)]
        body = [
            helper.make_node("Identity", [names[1]], [names[3]]),
            helper.make_node("Add", [names[2], x], [names[4]]),
        ]
        graph = helper.make_graph(body, "loop", infos, outs)
        self.node("Loop", [self.ints(2), self.const((), True, np.bool_), x], s, body=graph)

    def clip(self):
        x = self.value()
        if self.opset < 11:
            self.node("Clip", [x], self.pool[x], min=-1.0, max=1.5)
        else:
            ends = [self.const((), -1.0), self.const((), 1.5)]
            self.node("Clip", self.pick([[x, *ends], [x, "", ends[1]], [x, ends[0]], [x]]), self.pool[x])

    def widths(self):
        """One column made several by a constant."""
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        rows, columns = self.pool[x]
        y = self.node("Gemm", [x, self.const((columns, 1)), self.const((1,))], (rows, 1))
        width = self.pick(DIMS)
        y = self.node(self.pick(["Add", "Mul", "Sub", "Div"]), [y, self.const((width,))], (rows, width))

    def constants_alone(self):
        """A computation of constants beside the graph, given out or read."""
        shape = self.pick([(), (1,), (3,), (2, 3)])
        y = self.node(self.pick(["Identity", "Neg", "Abs", "Sqrt", "Exp"]), [self.const(shape)], shape)
        if self.chance(0.5):
            y = self.node(self.pick(["Add", "Mul", "Div"]), [y, self.const(shape)], shape)
        if self.chance(0.3) and self.opset >= 9:
            value = numpy_helper.from_array(np.array([1.5], np.float32))
            self.node("ConstantOfShape", [self.ints([2])], (2,), value=value)

    def mish(self):
        x = self.value()
        s = self.pool[x]
        t = self.node("Tanh", [self.node("Softplus", [x], s)], s)
        self.node("Mul", [x, t] if self.chance(0.5) else [t, x], s)

    def scaler(self):
        x = self.value(lambda s: len(s) == 2)
        if x is None:
            return
        n = self.pick([1, self.pool[x][1]])
        with np.errstate(all="ignore"):
            offset, scale = ([float(v) for v in self.numbers((n,)).astype(np.float32)] for _ in range(2))
        self.node("Scaler", [x], self.pool[x], domain="ai.onnx.ml", offset=offset, scale=scale)

    def cast(self):
        x = self.value()
        y = self.node("Cast", [x], None, to=self.pick([TensorProto.DOUBLE, FLOAT]))
        self.node("Cast", [y], self.pool[x], to=FLOAT)

    def tail(self):
        x = self.value(lambda s: len(s) >= 1)
        if x is None:
            return
        s = self.pool[x]
        axis = int(self.rng.integers(len(s)))
        at = axis - len(s) if self.opset >= 11 and self.chance(0.3) else axis
        op = self.pick(["Softmax", "Softmax", "LogSoftmax", "Sigmoid", "Tanh", "Mul", "Relu"])
        if op.endswith("max"):
            y = self.node(op, [x], s, axis=at if self.chance(0.8) or self.opset < 11 else -1)
        else:
            y = self.node(op, [x, self.const((), 2.0)] if op == "Mul" else [x], s)
        if self.chance(0.2):
            self.pool.pop(y)
            self.pool[y] = s
            return
        keep = int(self.chance(0.5))
        if op == "Sigmoid" and self.opset >= 9 and self.chance(0.6):
            pair = [y, self.const((), self.pick([0.5, 0.3, 0.9]))]
            compare = self.pick(["Greater", "Less"] + ["GreaterOrEqual", "LessOrEqual"] * (self.opset >= 12))
            label = self.node("Cast", [self.node(compare, pair, None)], None, to=INT64)
            self.labels[label], self.scores[label] = s, (y, None, float(self.constants[pair[1]]))
            return
        more = {"select_last_index": 1} if self.opset >= 12 and self.chance(0.3) else {}
        label = self.node("ArgMax", [y], None, axis=at, keepdims=keep, **more)
        self.labels[label] = (*s[:axis], *((1,) if keep else ()), *s[axis + 1 :])
        self.scores[label] = (y, axis, None)

    # --- the model ---

    def build(self):
        made = [n for n in self.pool if n not in self.inputs]
        last = made[-1:] if made else []
        outputs = dict.fromkeys([*self.labels, *(last if self.chance(0.8) or not self.labels else [])])
        read = {name for node in self.nodes for name in node.input}
        for name in made:
            if self.chance(0.08 if name in read else 0.7):
                outputs[name] = None
        nodes = list(self.nodes)
        if not outputs:
            nodes.append(helper.make_node("Identity", ["x"], ["y"]))
            outputs, self.pool["y"] = {"y": None}, self.pool["x"]
        infos = [
            helper.make_tensor_value_info(n, INT64 if n in self.labels else FLOAT, None) for n in outputs
        ]  # the shape is for onnx to infer
        stored = {}
        for name, array in self.constants.items():
            if name not in self.overridable and self.chance(0.15):
                nodes.insert(0, self.constant_node(name, array))
            else:
                stored[name] = array
        inputs = [helper.make_tensor_value_info(n, FLOAT, stated) for n, (_, stated) in self.inputs.items()]
        inputs += [helper.make_tensor_value_info(n, FLOAT, stored[n].shape) for n in self.overridable]
        initializers = [numpy_helper.from_array(a, n) for n, a in stored.items()]
        graph = helper.make_graph(nodes, "wild", inputs, infos, initializers)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10 if self.opset >= 21 else 8)

    def constant_node(self, name, array):
        if self.opset >= 12 and array.dtype == np.float32 and array.ndim < 2 and self.chance(0.5):
            key = "value_float" if array.ndim == 0 else "value_floats"
            return helper.make_node("Constant", [], [name], **{key: array.tolist()})
        if self.opset >= 12 and array.dtype == np.int64 and array.ndim < 2 and self.chance(0.5):
            key = "value_int" if array.ndim == 0 else "value_ints"
            if array.size:
                return helper.make_node("Constant", [], [name], **{key: array.tolist()})
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))

    def feed(self, rng, size=1.0):
        """Inputs of standard deviation `size`."""
        return {n: np.asarray(size * rng.normal(size=dims), np.float32) for n, (dims, _) in self.inputs.items()}
