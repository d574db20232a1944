"""R50+ViT-B_16.npz: loading it gives the encoder that is computed here from its arrays, in JAX's layout."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from sautomed.baselines import build_segmenter
from sautomed.config import Settings
from sautomed.config.baselines import TransUNetSettings
from sautomed.errors import DamagedWeights, UnsafeWeights, WeightsNotFound, WrongWeights
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle

WIDTH, UNITS, DIM, LAYERS, HEADS, MLP = 32, (2, 1, 1), 24, 2, 3, 40
SMALL = {"width": WIDTH, "units": UNITS, "dim": DIM, "layers": LAYERS, "heads": HEADS, "mlp": MLP}


def published(grid=2):
    """Make arrays with the names and shapes of Google's file."""
    rng = np.random.default_rng(0)
    arrays = {}

    def put(name, *shape):
        arrays[name] = rng.normal(size=shape).astype(np.float32)

    def norm(name, *shape):
        put(f"{name}/scale", *shape)
        put(f"{name}/bias", *shape)

    def dense(name, into, out):
        put(f"{name}/kernel", *into, *out)
        put(f"{name}/bias", *out)

    put("conv_root/kernel", 7, 7, 3, WIDTH)
    norm("gn_root", 1, 1, 1, WIDTH)
    before = WIDTH
    for block, units in enumerate(UNITS, start=1):
        middle = WIDTH * 2 ** (block - 1)
        for unit in range(1, units + 1):
            name = f"block{block}/unit{unit}"
            put(f"{name}/conv1/kernel", 1, 1, before, middle)
            put(f"{name}/conv2/kernel", 3, 3, middle, middle)
            put(f"{name}/conv3/kernel", 1, 1, middle, 4 * middle)
            for number, channels in enumerate((middle, middle, 4 * middle), start=1):
                norm(f"{name}/gn{number}", 1, 1, 1, channels)
            if unit == 1:
                put(f"{name}/conv_proj/kernel", 1, 1, before, 4 * middle)
                norm(f"{name}/gn_proj", 1, 1, 1, 4 * middle)
            before = 4 * middle
    put("embedding/kernel", 1, 1, before, DIM)
    put("embedding/bias", DIM)
    put("Transformer/posembed_input/pos_embedding", 1, grid * grid + 1, DIM)
    for layer in range(LAYERS):
        name = f"Transformer/encoderblock_{layer}"
        norm(f"{name}/LayerNorm_0", DIM)
        norm(f"{name}/LayerNorm_2", DIM)
        for part in ("query", "key", "value"):
            dense(f"{name}/MultiHeadDotProductAttention_1/{part}", (DIM,), (HEADS, DIM // HEADS))
        dense(f"{name}/MultiHeadDotProductAttention_1/out", (HEADS, DIM // HEADS), (DIM,))
        dense(f"{name}/MlpBlock_3/Dense_0", (DIM,), (MLP,))
        dense(f"{name}/MlpBlock_3/Dense_1", (MLP,), (DIM,))
    norm("Transformer/encoder_norm", DIM)
    put("cls", 1, 1, DIM)
    dense("pre_logits", (DIM,), (DIM,))
    dense("head", (DIM,), (11,))
    return arrays


class Jax:
    """The encoder computed from the arrays of a file, channels last, in float64."""

    def __init__(self, arrays):
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def conv(self, x, name, stride=1, standardized=True):
        kernel = self.arrays[f"{name}/kernel"]
        if standardized:
            kernel = kernel - kernel.mean((0, 1, 2))
            kernel = kernel / np.sqrt(kernel.var((0, 1, 2)) + 1e-5)
        pad = kernel.shape[0] // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], (1, 2))[:, ::stride, ::stride]
        return np.einsum("nyxihw,hwio->nyxo", windows, kernel, optimize=True)

    def group_norm(self, x, name, groups, eps):
        n, h, w, c = x.shape
        grouped = x.reshape(n, h, w, groups, c // groups)
        centred = grouped - grouped.mean((1, 2, 4), keepdims=True)
        unit = centred / np.sqrt(grouped.var((1, 2, 4), keepdims=True) + eps)
        return unit.reshape(x.shape) * self.arrays[f"{name}/scale"] + self.arrays[f"{name}/bias"]

    def unit(self, x, name, stride):
        y = np.maximum(self.group_norm(self.conv(x, f"{name}/conv1"), f"{name}/gn1", 32, 1e-6), 0)
        y = np.maximum(self.group_norm(self.conv(y, f"{name}/conv2", stride), f"{name}/gn2", 32, 1e-6), 0)
        y = self.group_norm(self.conv(y, f"{name}/conv3"), f"{name}/gn3", 32, 1e-6)
        if f"{name}/conv_proj/kernel" in self.arrays:
            x = self.conv(x, f"{name}/conv_proj", stride)
            x = self.group_norm(x, f"{name}/gn_proj", x.shape[-1], 1e-5)
        return np.maximum(x + y, 0)

    def resnet(self, x):
        x = np.maximum(self.group_norm(self.conv(x, "conv_root", 2), "gn_root", 32, 1e-6), 0)
        x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((-1, -2))
        for block, units in enumerate(UNITS, start=1):
            for unit in range(1, units + 1):
                x = self.unit(x, f"block{block}/unit{unit}", 2 if block > 1 and unit == 1 else 1)
        return x

    def layer_norm(self, x, name):
        unit = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return unit * self.arrays[f"{name}/scale"] + self.arrays[f"{name}/bias"]

    def attention(self, x, name):
        q, k, v = (
            np.einsum("ntd,dhe->nthe", x, self.arrays[f"{name}/{part}/kernel"]) + self.arrays[f"{name}/{part}/bias"]
            for part in ("query", "key", "value")
        )
        scores = np.einsum("nthe,nshe->nhts", q, k) / np.sqrt(DIM // HEADS)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("nhts,nshe->nthe", weights / weights.sum(-1, keepdims=True), v)
        return np.einsum("nthe,hed->ntd", mixed, self.arrays[f"{name}/out/kernel"]) + self.arrays[f"{name}/out/bias"]

    def mlp(self, x, name):
        first, second = f"{name}/Dense_0", f"{name}/Dense_1"
        x = torch.from_numpy(x @ self.arrays[f"{first}/kernel"] + self.arrays[f"{first}/bias"])
        x = torch.nn.functional.gelu(x).numpy()
        return x @ self.arrays[f"{second}/kernel"] + self.arrays[f"{second}/bias"]

    def tokens(self, x, positions):
        x = self.conv(x, "embedding", standardized=False) + self.arrays["embedding/bias"]
        x = x.reshape(len(x), -1, DIM) + positions
        for layer in range(LAYERS):
            name = f"Transformer/encoderblock_{layer}"
            x = x + self.attention(self.layer_norm(x, f"{name}/LayerNorm_0"), f"{name}/MultiHeadDotProductAttention_1")
            x = x + self.mlp(self.layer_norm(x, f"{name}/LayerNorm_2"), f"{name}/MlpBlock_3")
        return self.layer_norm(x, "Transformer/encoder_norm")


def write(folder, arrays):
    path = folder / "R50+ViT-B_16.npz"
    np.savez(path, **arrays)
    return path


def build(path, side=32):
    return build_segmenter(TransUNetSettings(**SMALL, weights=str(path)), 2, side).eval()


def test_the_encoder_equals_that_of_the_file(tmp_path):
    arrays = published()
    model, images = build(write(tmp_path, arrays)), torch.rand(2, 3, 32, 32)
    jax = Jax(arrays)
    coarsest = jax.resnet(images.permute(0, 2, 3, 1).double().numpy())
    expected = jax.tokens(coarsest, jax.arrays["Transformer/posembed_input/pos_embedding"][:, 1:])
    with torch.inference_mode():
        found, _ = model.resnet(images)
        tokens = model.transformer(found)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), coarsest, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(tokens.flatten(2).mT.numpy(), expected, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize(("grid", "side"), [(2, 48), (3, 32), (5, 64)])
def test_positions_are_interpolated_linearly_to_another_grid(tmp_path, grid, side):
    arrays = published(grid)
    model = build(write(tmp_path, arrays), side)
    table = arrays["Transformer/posembed_input/pos_embedding"][0, 1:].reshape(grid, grid, DIM)
    new = side // 16
    expected = np.stack([ndimage.zoom(table[..., c], new / grid, order=1) for c in range(DIM)], -1)
    found = model.transformer.positions.detach().numpy().reshape(new, new, DIM)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[[0, 0, -1, -1], [0, -1, 0, -1]], table[[0, 0, -1, -1], [0, -1, 0, -1]], rtol=1e-5)


def test_the_decoder_and_the_head_are_unchanged(tmp_path):
    path = write(tmp_path, published())
    torch.manual_seed(1)
    fresh = build_segmenter(TransUNetSettings(**SMALL), 2, 32).state_dict()
    torch.manual_seed(1)
    loaded = build(path)
    changed = {name.split(".")[0] for name, x in loaded.state_dict().items() if not torch.equal(x, fresh[name])}
    assert changed == {"resnet", "transformer"}


def test_a_model_folder_is_loaded_without_the_file(tmp_path):
    path = write(tmp_path, published())
    settings = Settings.model_validate(
        {"model": {"name": "transunet", **SMALL, "weights": str(path)}, "data": {"image_size": 128}}
    )
    model = build_segmenter(settings.model, 1, 128)
    save_bundle(tmp_path / "model", Bundle(model, settings, {1: "a"}, "MR"))
    path.unlink()
    back = load_bundle(tmp_path / "model").network.state_dict()
    assert all(torch.equal(x, back[name]) for name, x in model.state_dict().items())


def test_every_difference_is_listed(tmp_path):
    arrays = published()
    del arrays["block1/unit2/gn3/bias"]
    arrays["conv_root/kernel"] = arrays["conv_root/kernel"].transpose(3, 2, 0, 1)
    arrays["Transformer/encoderblock_1/MlpBlock_3/Dense_0/kernel"] = np.zeros((MLP, DIM), np.float32)
    arrays["block4/unit1/conv1/kernel"] = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(WrongWeights) as caught:
        build(write(tmp_path, arrays))
    for words in (
        "1 missing: block1/unit2/gn3/bias.",
        "1 unexpected: block4/unit1/conv1/kernel.",
        "2 misshapen: ",
        "conv_root/kernel is (32, 3, 7, 7), not (7, 7, 3, 32)",
        "Dense_0/kernel is (40, 24), not (24, 40)",
    ):
        assert words in caught.value.fault
    assert str(caught.value.where).endswith("R50+ViT-B_16.npz")


@pytest.mark.parametrize("tokens", [1, 6])
def test_positions_that_are_not_a_square_grid_are_refused(tmp_path, tokens):
    arrays = published()
    arrays["Transformer/posembed_input/pos_embedding"] = np.zeros((1, tokens, DIM), np.float32)
    with pytest.raises(WrongWeights, match="pos_embedding is"):
        build(write(tmp_path, arrays))


def test_integers_and_numbers_that_are_not_finite_are_refused(tmp_path):
    arrays = published()
    arrays["gn_root/bias"] = arrays["gn_root/bias"].astype(int)
    arrays["embedding/bias"][3] = np.nan
    with pytest.raises(WrongWeights, match=r"floating point: gn_root/bias. 1 not finite: embedding/bias"):
        build(write(tmp_path, arrays))


def test_a_file_that_would_run_code_is_not_read(tmp_path):
    arrays = published()
    arrays["embedding/bias"] = np.array([print], dtype=object)
    with pytest.raises(UnsafeWeights, match="embedding/bias"):
        build(write(tmp_path, arrays))


def test_missing_damaged_and_other_files_are_refused(tmp_path):
    with pytest.raises(WeightsNotFound):
        build(tmp_path / "nothing.npz")
    path = write(tmp_path, published())
    whole = path.read_bytes()
    for content, error in (
        (b"", DamagedWeights),
        (whole[: len(whole) // 2], DamagedWeights),
        (whole[:5000] + bytes(9000) + whole[14000:], DamagedWeights),
        (b"some text, long enough", WrongWeights),
        (b"\x80\x02pickle", WrongWeights),
    ):
        path.write_bytes(content)
        with pytest.raises(error):
            build(path)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(WrongWeights, match="no NumPy archive"):
        build(path)
