"""Classical machine learning and texts against poisoning."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model
from tests.oracles import onnx_poison

ML = "ai.onnx.ml"


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def numbers(count: int) -> list[float]:
    return [float(x) for x in data(count)]


X = data(3, 4)
SVC: dict[str, Any] = {
    "support_vectors": numbers(20), "vectors_per_class": [2, 2, 1], "coefficients": numbers(10),
    "rho": numbers(3), "kernel_type": "RBF", "kernel_params": [0.1, 0.0, 0.0], "classlabels_ints": [0, 1, 2],
}  # fmt: skip

#: Operators, what goes into them, how much comes out of them, and attributes.
OPERATORS: list[tuple[str, list[np.ndarray], int, dict[str, Any]]] = [
    ("Binarizer", [X], 1, {"threshold": 0.1}),
    ("Imputer", [X], 1, {"imputed_value_floats": [1.0], "replaced_value_float": float("nan")}),
    ("Scaler", [X], 1, {"offset": numbers(4), "scale": numbers(4)}),
    ("Normalizer", [X], 1, {"norm": "MAX"}),
    ("Normalizer", [X], 1, {"norm": "L1"}),
    ("Normalizer", [X], 1, {"norm": "L2"}),
    ("FeatureVectorizer", [X, data(3, 2)], 1, {"inputdimensions": [4, 2]}),
    ("FeatureVectorizer", [X, data(3, 2)], 1, {"inputdimensions": [3, 3]}),
    ("LinearRegressor", [X], 1, {"coefficients": numbers(4), "intercepts": [0.5]}),
    ("LinearRegressor", [X], 1, {"coefficients": numbers(8), "intercepts": [0.5, 1], "targets": 2}),
    ("SVMRegressor", [X], 1, {"coefficients": numbers(4), "rho": [0.5]}),
    (
        "SVMRegressor", [X], 1,
        {"support_vectors": numbers(8), "coefficients": numbers(2), "n_supports": 2, "rho": [0.5],
         "kernel_type": "RBF", "kernel_params": [0.1, 0.0, 0.0]},
    ),
    ("SVMClassifier", [X], 2, SVC),
    ("SVMClassifier", [X], 2, {**SVC, "prob_a": numbers(3), "prob_b": numbers(3)}),
    (
        "SVMClassifier", [X], 2,
        {**SVC, "vectors_per_class": [3, 2], "coefficients": numbers(5), "rho": [0.1],
         "classlabels_ints": [0, 1]},
    ),
    ("SVMClassifier", [X], 2, {"coefficients": numbers(12), "rho": [0.1], "classlabels_ints": [0, 1, 2]}),
]  # fmt: skip


@pytest.mark.parametrize("op, inputs, outputs, attributes", OPERATORS)
def test_operators(
    op: str, inputs: list[np.ndarray], outputs: int, attributes: dict[str, Any]
) -> None:
    model, feeds = node_model(op, *inputs, outputs=outputs, domain=ML, **attributes)
    assert_agrees(model, feeds)


@pytest.mark.parametrize("rows, labels", [(1, [3, 5]), (2, [3, 5]), (3, [3, 5, 7])])
@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_linear_classifier(rows: int, labels: list[int], transform: str) -> None:
    model, feeds = node_model(
        "LinearClassifier", X, outputs=2, domain=ML, coefficients=numbers(4 * rows),
        intercepts=[0.0] * rows, classlabels_ints=labels, post_transform=transform,
    )  # fmt: skip
    assert_agrees(model, feeds)


def test_texts_and_numbers() -> None:
    """Which type comes out is told by the attributes."""
    texts = np.array([["a", "b"], ["c", "a"]], dtype=object)
    pairs = {"keys_strings": ["a", "b", "c"], "values_int64s": [1, 2, 3]}
    assert_agrees(*node_model("LabelEncoder", texts, domain=ML, **pairs))
    floats = {"keys_int64s": [0, 1, 2], "values_floats": [0.5, 0.25, 1.0]}
    assert_agrees(*node_model("LabelEncoder", np.array([0, 2, 1]), domain=ML, **floats))

    def mapped(given: Any) -> list[np.ndarray]:
        return [np.vectorize({"a": 1, "b": 2, "c": 3}.get)(given["x0"])]

    pairs = {"cats_strings": ["a", "b", "c"], "cats_int64s": [1, 2, 3]}
    assert_agrees(*node_model("CategoryMapper", texts, domain=ML, **pairs), run=mapped)
    one = node_model("OneHotEncoder", texts, domain=ML, cats_strings=["a", "b", "c"])
    report = assert_agrees(*one)
    assert report[-1].shape == (2, 2, 3)
    assert_agrees(
        *node_model("OneHotEncoder", np.array([0, 2, 1]), domain=ML, cats_int64s=[0, 1, 2])
    )


# --- trees

#: One split by feature 2; below it one by feature 0 over targets 0 and 1, and a leaf of target 2. A lone leaf.
TREES = {
    "nodes_treeids": [0, 0, 0, 0, 0, 1],
    "nodes_nodeids": [0, 1, 2, 3, 4, 0],
    "nodes_featureids": [2, 0, 0, 0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 3, 0, 0, 0, 0],
    "nodes_falsenodeids": [2, 4, 0, 0, 0, 0],
    "nodes_values": [0.0, 0.1, 0, 0, 0, 0],
}
LEAVES = {
    "treeids": [0, 0, 0, 1],
    "nodeids": [2, 3, 4, 0],
    "ids": [2, 0, 1, 3],
    "weights": [1.0, 2.0, 3.0, 4.0],
}


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX"])
def test_tree_regressor(transform: str) -> None:
    """Targets read the splits above their leaves: features 0 and 2, or 2 alone, or none."""
    leaves = {f"target_{key}": held for key, held in LEAVES.items()}
    plain = {**TREES, **leaves, "n_targets": 5}
    scores = onnx_poison.evaluator(node_model("TreeEnsembleRegressor", X, domain=ML, **plain)[0])
    model, feeds = node_model(
        "TreeEnsembleRegressor", X, domain=ML, **plain, post_transform=transform
    )

    def run(given: Any) -> list[np.ndarray]:
        """The evaluator has no softmax here."""
        (y,) = scores(given)
        e = np.exp(y)
        return [y if transform == "NONE" else e / e.sum(1, keepdims=True)]

    report = assert_agrees(model, feeds, status="bound", run=run)
    boxes = report[-1].boxes()[..., 1, :].tolist()
    if transform == "NONE":
        # The third target's leaf hangs on feature 2 alone.
        assert boxes[0] == [[0, 3], [0, 3], [2, 3], [0, 0], [0, 0]]
    else:
        assert boxes[0] == [0, 3]


@pytest.mark.parametrize("classes, ids", [([0, 1, 2, 3], [2, 0, 1, 3]), ([0, 1], [0, 0, 0, 0])])
def test_tree_classifier(classes: list[int], ids: list[int]) -> None:
    leaves = {f"class_{key}": held for key, held in {**LEAVES, "ids": ids}.items()}
    more = {**TREES, **leaves, "classlabels_int64s": classes}
    model, feeds = node_model("TreeEnsembleClassifier", X, outputs=2, domain=ML, **more)
    report = assert_agrees(model, feeds, status="bound")
    assert report[-1].shape == (3, len(classes))


def test_tree_ensemble() -> None:
    """The trees above in the newer form, in which a lone leaf is a split with one leaf on both sides."""

    def tensor(values: list[float], kind: Any) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.array(values, dtype=kind))

    model, feeds = node_model(
        "TreeEnsemble", X, domain=ML, n_targets=5, tree_roots=[0, 2], nodes_featureids=[2, 0, 3],
        nodes_modes=tensor([0, 1, 0], np.uint8), nodes_splits=tensor([0, 0.1, 0], np.float32),
        nodes_truenodeids=[1, 1, 3], nodes_trueleafs=[0, 1, 1], nodes_falsenodeids=[0, 2, 3],
        nodes_falseleafs=[1, 1, 1], leaf_targetids=[2, 0, 1, 3],
        leaf_weights=tensor([1, 2, 3, 4], np.float32),
    )  # fmt: skip
    model.opset_import[1].version = 5
    report = assert_agrees(model, feeds, status="bound")
    boxes = report[-1].boxes()[..., 1, :].tolist()
    assert boxes[0] == [[0, 3], [0, 3], [2, 3], [3, 4], [0, 0]]


def test_tree_that_bites_its_tail() -> None:
    """A split that hangs below itself."""
    trees = {**TREES, "nodes_truenodeids": [1, 0, 0, 0, 0, 0]}
    leaves = {f"target_{key}": held for key, held in LEAVES.items()}
    model, feeds = node_model("TreeEnsembleRegressor", X, domain=ML, **trees, **leaves, n_targets=5)
    with pytest.raises(EyeshotError, match="a tree that bites its tail"):
        assert_agrees(model, feeds, status="bound", run=lambda given: [given["x0"]])


def test_unknown_feature() -> None:
    leaves = {f"target_{key}": held for key, held in LEAVES.items()}
    model, feeds = node_model(
        "TreeEnsembleRegressor", X[:, :2], domain=ML, **TREES, **leaves, n_targets=5
    )
    with pytest.raises(EyeshotError, match="splits by features that 2 do not have"):
        assert_agrees(model, feeds, status="bound", run=lambda given: [given["x0"]])


# --- texts

TEXTS = np.array([["a", "x"], ["y", "b"]], dtype=object)


def test_concatenated() -> None:
    assert_agrees(*node_model("StringConcat", TEXTS, np.array(["x", "y"], dtype=object)))


def test_match() -> None:
    assert_agrees(*node_model("RegexFullMatch", TEXTS, pattern="[a-d]"), draws=30)


def test_normalizer() -> None:
    texts = np.array(["a", "B", "c"], dtype=object)
    assert_agrees(*node_model("StringNormalizer", texts, case_change_action="UPPER"))


def declared(model: onnx.ModelProto, *shapes: tuple[int, ...]) -> onnx.ModelProto:
    """The shapes of outputs written into the model."""
    for info, shape in zip(model.graph.output, shapes, strict=True):
        info.type.tensor_type.elem_type = onnx.TensorProto.STRING
        info.type.tensor_type.shape.SetInParent()
        for n in shape:
            info.type.tensor_type.shape.dim.add().dim_value = n
    return model


def test_words_taken_out() -> None:
    """How many are left is not known without the texts; the file may say it."""
    texts = np.array(["a", "b", "c", "d"], dtype=object)
    model, feeds = node_model("StringNormalizer", texts, stopwords=["b"])
    with pytest.raises(EyeshotError, match="how many words are left depends on data"):
        assert_agrees(model, feeds)
    assert_agrees(declared(model, (3,)), feeds, status="bound")


def test_split() -> None:
    """Other texts may have fewer parts: what there may be most of has to be declared."""
    texts = np.array([["a b", "c"], ["d", "e f"]], dtype=object)
    model, feeds = node_model("StringSplit", texts, outputs=2)
    evaluator = onnx_poison.evaluator(model)

    def run(given: Any) -> list[np.ndarray]:
        parts, count = evaluator(given)
        return [np.pad(parts, [(0, 0), (0, 0), (0, 2 - parts.shape[2])], constant_values=""), count]

    assert_agrees(declared(model, (2, 2, 2), (2, 2)), feeds, run=run, draws=30)


@pytest.mark.parametrize("shape", [(4,), (2, 4)])
@pytest.mark.parametrize("longest, skips", [(1, 0), (2, 0), (2, 2), (3, 1)])
def test_tfidf(shape: tuple[int, ...], longest: int, skips: int) -> None:
    """Runs of one, two and three tokens; those too long to be looked for are never found."""
    x = np.random.default_rng(0).integers(0, 2, shape)
    model, feeds = node_model(
        "TfIdfVectorizer", x, mode="TF", min_gram_length=1, max_gram_length=longest,
        max_skip_count=skips, ngram_counts=[0, 2, 6], ngram_indexes=[0, 2, 1, 3, 5, 6],
        pool_int64s=[0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1],
    )  # fmt: skip
    assert_agrees(model, feeds, draws=60)
    short, feeds = node_model("Identity", x[..., :1])
    short.graph.node[0].CopyFrom(model.graph.node[0])
    assert_agrees(short, feeds)
