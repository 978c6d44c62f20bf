"""Classical machine learning (ai.onnx.ml), and texts.

A map is given as the tensor of its values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from eyeshot.core import families
from eyeshot.core.primitives import Input
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = []

ML = "ai.onnx.ml"


# --- element by element


@rule("Binarizer", "Imputer", "Scaler", domain=ML)
def unary(c: Call, x: Value) -> int:
    return c.operand(x)


@rule("RegexFullMatch")
def match(c: Call, x: Value) -> int:
    return c.operand(x)


@rule("StringConcat")
def concatenated(c: Call, x: Value, y: Value) -> int:
    return c.pointwise(x, y)


@rule("LabelEncoder", "CategoryMapper", domain=ML)
def encoded(c: Call, x: Value) -> int:
    """One value for another; which kind comes out is told by the values, or by what goes in."""
    tensor = c.attr("values_tensor")
    if tensor is not None:
        c.dtype = tensor.data_type
    elif c.attr("values_floats") is not None:
        c.dtype = TensorProto.FLOAT
    elif c.attr("values_int64s") is not None:
        c.dtype = TensorProto.INT64
    elif c.attr("values_strings") is not None or x.dtype != TensorProto.STRING:
        c.dtype = TensorProto.STRING
    else:
        c.dtype = TensorProto.INT64
    return c.operand(x)


@rule("OneHotEncoder", domain=ML)
def one_hot(c: Call, x: Value) -> int:
    """A number for each category, of which all look at the same element."""
    count = len(c.attr("cats_int64s", ()) or c.attr("cats_strings", ()))
    at = families.unsqueeze(c.g, c.operand(x), x.rank)
    return c.shaped(at, (*x.shape, count))


# --- row by row


def _matrix(c: Call, x: Value) -> int:
    """(examples, features); a vector is one example."""
    if x.rank not in (1, 2):
        raise c.fail(f"{list(x.shape)} is no matrix of examples")
    at = c.operand(x)
    return families.unsqueeze(c.g, at, 0) if x.rank == 1 else at


def _classes(c: Call) -> int:
    """How many classes there are."""
    names = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
    return max(len(c.attr(name, ())) for name in names)


def _labels(c: Call) -> None:
    """The labels that come out first are texts or numbers."""
    texts = c.attr("classlabels_strings")
    c.dtype = TensorProto.STRING if texts else TensorProto.INT64


def _numbers(c: Call, name: str) -> Any:
    """A list of numbers, of which there may be a tensor instead."""
    tensor = c.attr(f"{name}_as_tensor")
    return c.attr(name, ()) if tensor is None else numpy_helper.to_array(tensor).reshape(-1)


@rule("Normalizer", domain=ML)
def normalizer(c: Call, x: Value) -> int:
    """Rows of a matrix, or one vector."""
    return families.norm(c.g, c.operand(x), (min(1, x.rank - 1),))


@rule("FeatureVectorizer", domain=ML)
def features(c: Call, *inputs: Value) -> int:
    """Side by side, each cut or filled up to the size that is given for it."""
    sizes = c.attr("inputdimensions", ())
    parts = []
    for k, x in enumerate(inputs):
        at = _matrix(c, x)
        if k < len(sizes):
            at = families.placed(c.g, at, 1, 0, sizes[k])
        parts.append(at)
    return families.concat(c.g, parts, 1) if len(parts) > 1 else parts[0]


@rule("LinearRegressor", domain=ML)
def linear_regressor(c: Call, x: Value) -> int:
    return families.mix(c.g, _matrix(c, x), (1,), (c.attr("targets", 1),))


@rule("SVMRegressor", domain=ML)
def svm_regressor(c: Call, x: Value) -> int:
    return families.mix(c.g, _matrix(c, x), (1,), (1,))


@rule("LinearClassifier", domain=ML)
def linear_classifier(c: Call, x: Value) -> list[Any]:
    """Labels, and scores: as many as there are rows of weights, but two if one decides between two."""
    at = _matrix(c, x)
    rows = len(c.attr("coefficients", ())) // c.g.shapes[at][1]
    if rows < 1:
        raise c.fail(f"no weights for {c.g.shapes[at][1]} features")
    return _scored(c, at, 2 if rows == 1 and _classes(c) == 2 else rows)


@rule("SVMClassifier", domain=ML)
def svm_classifier(c: Call, x: Value) -> list[Any]:
    """Labels, and scores: one a class, or without probabilities one a pair of classes."""
    count = max(1, _classes(c))
    if c.attr("vectors_per_class") and not c.attr("prob_a"):
        count = max(count * (count - 1) // 2, 2)
    return _scored(c, _matrix(c, x), count)


def _scored(c: Call, x: int, count: int) -> list[Any]:
    _labels(c)
    scores = families.mix(c.g, x, (1,), (count,))
    return [families.reduce(c.g, x, (1,), False), scores]


# --- trees


#: Trees score so many targets at most.
MAX_TARGETS = 1 << 16

PATHS = "which way a tree goes depends on data; all splits before a leaf are taken as read"

#: What makes each of the scores read all of them.
ALL_SCORES = ("SOFTMAX", "SOFTMAX_ZERO")


@rule("TreeEnsembleRegressor", domain=ML)
def tree_regressor(c: Call, x: Value) -> int:
    return _trees(c, x, _splits(c, "target"), c.attr("n_targets", 1))


@rule("TreeEnsembleClassifier", domain=ML)
def tree_classifier(c: Call, x: Value) -> list[Any]:
    """Labels, and a score each; where all leaves speak of one class the other has what is left."""
    splits, count = _splits(c, "class"), _classes(c)
    if len(splits) == 1:
        count = max(2, count)
        splits = dict.fromkeys(range(min(count, MAX_TARGETS)), next(iter(splits.values())))
    scores = _trees(c, x, splits, count)
    _labels(c)
    return [families.reduce(c.g, scores, (1,), False), scores]


@rule("TreeEnsemble", domain=ML)
def tree_ensemble(c: Call, x: Value) -> int:
    """Splits number their two sides: other splits, or leaves."""
    feature = c.attr("nodes_featureids", ())
    targets = c.attr("leaf_targetids", ())
    sides = [
        list(zip(c.attr(f"nodes_{side}leafs"), c.attr(f"nodes_{side}nodeids"), strict=True))
        for side in ("true", "false")
    ]
    found: dict[int, set[int]] = {}
    # Roots may stand for a leaf alone: a split whose sides are the same one.
    stack = [(int(root), frozenset[int]()) for root in c.attr("tree_roots", ())]
    seen = set()
    while stack:
        node, above = stack.pop()
        if not 0 <= node < len(feature):
            raise c.fail(f"there is no split {node}")
        above = above | {int(feature[node])}
        for side in sides:
            leaf, place = side[node]
            if leaf:
                if not 0 <= place < len(targets):
                    raise c.fail(f"there is no leaf {place}")
                found.setdefault(targets[place], set()).update(above)
            elif (place, above) not in seen:
                seen.add((place, above))
                stack.append((place, above))
    return _trees(c, x, found, c.attr("n_targets", 1))


def _splits(c: Call, kind: str) -> dict[int, set[int]]:
    """By target, or class, the features that decide over its leaves: those of the splits above them."""
    keys = list(zip(c.attr("nodes_treeids", ()), c.attr("nodes_nodeids", ()), strict=True))
    modes, feature = c.attr("nodes_modes", ()), c.attr("nodes_featureids", ())
    true, false = c.attr("nodes_truenodeids", ()), c.attr("nodes_falsenodeids", ())
    parent: dict[tuple[int, int], tuple[int, int]] = {}
    decides: dict[tuple[int, int], int] = {}
    for k, (tree, node) in enumerate(keys):
        if modes[k] == "LEAF":
            continue
        decides[tree, node] = feature[k]
        parent[tree, true[k]] = parent[tree, false[k]] = (tree, node)
    above: dict[tuple[int, int], frozenset[int]] = {}

    def over(key: tuple[int, int]) -> frozenset[int]:
        """The features of the splits over a node."""
        line = []
        while key in parent and key not in above:
            line.append(key)
            key = parent[key]
            if len(line) > len(keys):
                raise c.fail("a tree that bites its tail")
        features = above.setdefault(key, frozenset())
        for child in reversed(line):
            features = features | {decides[parent[child]]}
            above[child] = features
        return features

    found: dict[int, set[int]] = {}
    rows = zip(c.attr(f"{kind}_treeids", ()), c.attr(f"{kind}_nodeids", ()),
               c.attr(f"{kind}_ids", ()), strict=True)  # fmt: skip
    for tree, node, target in rows:
        found.setdefault(target, set()).update(over((tree, node)))
    return found


def _trees(c: Call, x: Value, splits: dict[int, set[int]], count: int) -> int:
    """(examples, targets): each reads the features that its leaves hang on."""
    g, at = c.g, _matrix(c, x)
    size, width = g.shapes[at]
    if count > MAX_TARGETS:
        raise c.fail(f"scores of {count} targets")
    columns = [tuple(sorted(splits.get(k, ()))) for k in range(count)]
    if any(f and (f[0] < 0 or f[-1] >= width) for f in columns):
        raise c.fail(f"splits by features that {width} do not have")
    if c.attr("post_transform", "NONE") in ALL_SCORES:
        columns = [tuple(sorted(set().union(*columns)))] * count
    kinds = list(dict.fromkeys(columns))
    parts = []
    for features in kinds:
        if not features:
            parts.append(g.add(Input((size, 1))))
            continue
        chosen = families.pick(g, at, 1, features)
        parts.append(families.mix(g, chosen, (1,), (1,)))
    value = families.concat(g, parts, 1) if len(parts) > 1 else parts[0]
    value = families.pick(g, value, 1, [kinds.index(f) for f in columns])
    return c.bound(value, "data-dependent", PATHS)


# --- maps


@rule("ZipMap", domain=ML)
def zip_map(c: Call, x: Value) -> int:
    """A map a row, of which each value is an element."""
    return c.operand(x)


@rule("DictVectorizer", domain=ML)
def dict_vectorizer(c: Call, x: Value) -> int:
    """The values in the order of the vocabulary."""
    return _unzipped(c, x, len(c.attr("int64_vocabulary", ()) or c.attr("string_vocabulary", ())))


@rule("CastMap", domain=ML)
def cast_map(c: Call, x: Value) -> int:
    """The values in the order of their keys, or at the places that these name."""
    kinds = {"TO_STRING": TensorProto.STRING, "TO_INT64": TensorProto.INT64}
    c.dtype = kinds.get(c.attr("cast_to", "TO_FLOAT"), TensorProto.FLOAT)
    sparse = c.attr("map_form", "DENSE") == "SPARSE"
    return _unzipped(c, x, c.attr("max_map", 1) if sparse else x.shape[-1])


def _unzipped(c: Call, x: Value, count: int) -> int:
    why = "which value of a map goes where is told by its keys; all are taken as read"
    return c.bound(families.mix(c.g, _matrix(c, x), (1,), (count,)), "data-dependent", why)


# --- texts


@rule("StringNormalizer")
def string_normalizer(c: Call, x: Value) -> int:
    """Word by word, where none is taken out."""
    if c.attr("stopwords"):
        raise NoRule("how many words are left depends on data")
    return c.operand(x)


@rule("StringSplit")
def string_split(c: Call, x: Value) -> list[Any]:
    """Parts of each text; how many there are at most has to be declared. Their number comes out too."""
    declared = c.walker.inferred(c)[0]
    if declared is None:
        raise NoRule("how many parts a text has depends on data")
    at = c.operand(x)
    return [c.shaped(families.unsqueeze(c.g, at, x.rank), declared[0]), at]


@rule("TfIdfVectorizer")
def tfidf(c: Call, x: Value) -> int:
    """Counts of runs of tokens in a row: all of it, where such a run is looked for and fits in."""
    if x.rank not in (1, 2):
        raise c.fail(f"{list(x.shape)} is no matrix of tokens")
    places = c.attr("ngram_indexes", ())
    if not places:
        raise c.fail("no places for its counts")
    width = x.shape[-1]
    if min(places) < 0:
        raise c.fail("a place of its counts is negative")
    (count,) = c.shape_of((max(places) + 1,))
    fitting = {place for place, n in zip(places, _lengths(c), strict=False) if n <= width}
    dim = x.rank - 1
    value = families.mix(c.g, c.operand(x), (dim,), (count,))
    if len(fitting) == count:
        return value
    kept = None
    if count <= families.MAX_MASK:
        held = np.array([k in fitting for k in range(count)])
        kept = families.masked(c.g, value, held)
    if kept is None:
        why = "which counts are always zero is long to write down; all are taken as read"
        return c.bound(value, "large-mask", why)
    return kept


def _lengths(c: Call) -> Iterable[float]:
    """The length of each run of tokens in the pool; infinite where its length is not looked for."""
    pool: Sequence[Any] = c.attr("pool_int64s", ()) or c.attr("pool_strings", ())
    starts = (*c.attr("ngram_counts", ()), len(pool))
    least, most = c.attr("min_gram_length", 1), c.attr("max_gram_length", 1)
    for k in range(len(starts) - 1):
        size = k + 1
        if not 0 <= starts[k] <= starts[k + 1] <= len(pool):
            raise c.fail(f"its counts of runs {list(starts[:-1])} do not fit a pool of {len(pool)}")
        for _ in range(max(0, starts[k + 1] - starts[k]) // size):
            yield size if least <= size <= most else float("inf")
