from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders import multimodal
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.multimodal import FUSIONS, MultimodalAutoencoder

BINS = 20
NAMES = ("psd", "acf", "fstat")


class Tiny(Autoencoder):
    """Reads every step alone, and its neighbours by a convolution that padding does not enter."""

    def __init__(self, in_channels: int, out_channels: int, *, flat: bool = False) -> None:
        super().__init__(in_channels, out_channels, 8)
        self.lin_in, self.conv = nn.Linear(in_channels, 8), nn.Conv1d(8, 8, 3, padding=1)
        self.lin_out, self.flat = nn.Linear(8, out_channels), flat

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        h = self.lin_in(x).tanh()
        if key_padding_mask is not None:
            h = h.masked_fill(key_padding_mask.unsqueeze(-1), 0.0)
        h = self.conv(h.mT).mT
        reconstructed = self.lin_out(h)
        return {
            "reconstructed": reconstructed.squeeze(-1) if self.out_channels == 1 else reconstructed,
            "encoded": h.mean(1) if self.flat else h,
        }


@pytest.fixture(autouse=True)
def tiny_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    found = multimodal.get_autoencoder
    monkeypatch.setattr(multimodal, "get_autoencoder", lambda name: Tiny if name == "tiny" else found(name))


def build(**arguments) -> MultimodalAutoencoder:
    torch.manual_seed(0)
    keywords = {"modalities": NAMES, "bins": BINS, "latent_dim": 6, "embedding_dim": 4, "spectral_widths": (3,)}
    return MultimodalAutoencoder("tiny", **{**keywords, "step_features": 5, **arguments})


def batch(rows: int = 4, steps: int = 9) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, steps, 2, generator=generator)
    time = torch.arange(steps, dtype=torch.float64).expand(rows, -1)
    padding = torch.arange(steps) >= torch.tensor([steps, steps - 3, steps, 2][:rows]).unsqueeze(1)
    return x, time, padding, {name: torch.randn(rows, BINS, generator=generator) for name in NAMES}


def same(a: dict, b: dict, rows: slice | list[int] = slice(None)) -> bool:
    flat = [(a[k], b[k]) for k in ("reconstructed", "encoded", "latent")]
    flat += [(a["spectra"][k], b["spectra"][k]) for k in a["spectra"]]
    return all(torch.allclose(p[rows], q[rows], atol=1e-6) for p, q in flat)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    "modalities",
    [s for n in (1, 2, 3) for s in itertools.combinations(NAMES, n)] + [(("psd", "fstat"), "acf"), (NAMES,)],
)
def test_any_subset_of_spectra(fusion: str, modalities) -> None:
    model = build(modalities=modalities, fusion=fusion)
    x, time, padding, spectra = batch()
    given = {name: spectra[name] for name in model.modalities}
    output = model(x, time, padding, given)
    assert output["reconstructed"].shape == (4, 9, 1)
    assert output["encoded"].shape == (4, 9, 8)
    assert output["latent"].shape == (4, 6)
    assert {k: tuple(v.shape) for k, v in output["spectra"].items()} == dict.fromkeys(model.modalities, (4, BINS))
    model.eval()
    none = model(x, time, padding)
    for name in model.modalities:
        some = model(x, time, padding, {name: spectra[name]})
        alone = all(group == (name,) for group in model.groups if name in group)
        assert same(none, some) != alone  # a group of which not all is given counts as absent


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("training", [False, True])
def test_absent_spectra_have_no_influence(fusion: str, training: bool) -> None:
    model = build(fusion=fusion, modality_dropout=0.0)
    x, time, padding, spectra = batch()
    present = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    results = []
    for junk in (0.0, 1e6, float("nan")):
        changed = {n: v.masked_fill(~present[:, [i]], junk) for i, (n, v) in enumerate(spectra.items())}
        state = {name: value.clone() for name, value in model.state_dict().items()}
        model.train(training)
        results.append(model(x, time, padding, changed, present))
        model.load_state_dict(state)
    assert all(torch.isfinite(v).all() for v in results[0]["spectra"].values())
    assert all(same(results[0], result) for result in results[1:])
    # A spectrum left out is one that no star has.
    model.eval()
    nobody = present.clone()
    nobody[:, 1] = False
    without = model(x, time, padding, {"psd": spectra["psd"], "fstat": spectra["fstat"]}, present)
    assert same(without, model(x, time, padding, spectra, nobody))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_present_spectrum_reaches_all_reconstructions(fusion: str) -> None:
    model = build(fusion=fusion).eval()
    x, time, padding, spectra = batch()
    before = model(x, time, padding, spectra)
    for name in NAMES:
        after = model(x, time, padding, {**spectra, name: spectra[name] + 1 + torch.randn(4, BINS)})
        changes = [after["reconstructed"] - before["reconstructed"], after["latent"] - before["latent"]]
        changes += [after["spectra"][k] - before["spectra"][k] for k in NAMES]
        assert all((change.flatten(1).abs().amax(1) > 1e-6).all() for change in changes)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_padding_and_its_amount_change_nothing(fusion: str) -> None:
    model = build(fusion=fusion).eval()
    x, time, padding, spectra = batch()
    before = model(x, time, padding, spectra)
    after = model(x.masked_fill(padding.unsqueeze(-1), 7.0), time, padding, spectra)
    torch.testing.assert_close(after["latent"], before["latent"])
    torch.testing.assert_close(after["reconstructed"][~padding], before["reconstructed"][~padding])
    longer = model(
        torch.cat([x, x], 1), torch.cat([time, time + 9], 1), torch.cat([padding, torch.ones_like(padding)], 1), spectra
    )
    torch.testing.assert_close(longer["latent"], before["latent"])
    torch.testing.assert_close(longer["reconstructed"][:, :9][~padding], before["reconstructed"][~padding])
    assert model.latent_mask(padding, before["encoded"]).equal(padding)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("flat", [False, True])
def test_a_star_without_time_series(fusion: str, flat: bool) -> None:
    model = build(fusion=fusion, branch_options={"flat": flat}).eval()
    x, time, padding, spectra = batch()
    padding = padding.clone()
    padding[0] = True
    latent = model(x, time, padding, spectra)["latent"]
    assert torch.isfinite(latent).all()
    torch.testing.assert_close(model(x + padding.unsqueeze(-1), time, padding, spectra)["latent"], latent)
    other = {**spectra, "acf": spectra["acf"] + torch.randn(4, BINS)}
    assert (model(x, time, padding, other)["latent"][0] - latent[0]).abs().max() > 1e-6
    with torch.no_grad():
        model.missing_series += 1.0
    changed = (model(x, time, padding, spectra)["latent"] - latent).abs().amax(1)
    assert changed[0] > 1e-4
    assert not changed[1:].any()


def test_modality_dropout_is_drawn_for_each_star_from_torch_s_generator() -> None:
    model = build(modality_dropout=0.5, modalities=("psd",)).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()  # so that only the dropout can differ between two calls
    x, time, _, spectra = batch()
    x, time, given = x[:1].repeat(200, 1, 1), time[:1].repeat(200, 1), {"psd": spectra["psd"][:1].repeat(200, 1)}
    torch.manual_seed(5)
    first = model(x, time, spectra=given)["latent"]
    torch.manual_seed(5)
    assert torch.equal(model(x, time, spectra=given)["latent"], first)
    assert not torch.equal(model(x, time, spectra=given)["latent"], first)
    absent = model(x[:1], time[:1])["latent"]
    dropped = torch.isclose(first, absent, atol=1e-6).all(1).double().mean().item()
    assert dropped == pytest.approx(0.5, abs=0.12)  # 3.4 standard deviations
    model.eval()
    assert torch.equal(model(x, time, spectra=given)["latent"][0], model(x, time, spectra=given)["latent"][-1])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("given", [True, False])
def test_every_parameter_takes_part_in_every_step(fusion: str, given: bool) -> None:
    model = build(fusion=fusion)
    x, time, padding, spectra = batch()
    output = model(x, time, padding, spectra if given else None)
    sum(v.square().sum() for v in (output["reconstructed"], *output["spectra"].values())).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_learns_to_tell_a_spectrum_from_the_series() -> None:
    model = build(fusion="hierarchical", modalities=("psd",), modality_dropout=0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    level = torch.linspace(-1, 1, 32)
    shape = torch.sin(torch.arange(BINS) / 3.0)
    x = torch.stack([level.unsqueeze(1).expand(-1, 6), torch.zeros(32, 6)], dim=-1)
    psd = level.unsqueeze(1) * shape
    for _ in range(80):
        output = model(x, spectra={"psd": psd})
        loss = (output["reconstructed"][..., 0] - x[..., 0]).square().mean() + (
            output["spectra"]["psd"] - psd
        ).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    from_series = model(x)["spectra"]["psd"]
    assert (from_series - psd).square().mean() < 0.25 * psd.square().mean()


def test_a_single_feature_of_each_step_and_several_outputs() -> None:
    model = build(step_features=1, out_channels=2)
    x, time, padding, spectra = batch()
    assert model(x, time, padding, spectra)["reconstructed"].shape == (4, 9, 2)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"input_length": 16, "encoder_hidden_dims": [8], "latent_dim": 8}),
        ("unet", {"encoder_dims": [4, 8]}),
        ("transformer", {"input_length": 16, "encoder_dims": [4, 8], "num_transformer_blocks": 1, "nhead": 2}),
        ("mingru", {"encoder_dims": [4, 8], "num_recurrent_blocks": 1}),
    ],
)
def test_the_branches_of_the_registry(fusion: str, name: str, options: dict) -> None:
    torch.manual_seed(0)
    model = MultimodalAutoencoder(name, options, bins=BINS, fusion=fusion, spectral_widths=(3,), step_features=3)
    x, time, padding, spectra = batch(steps=16)
    output = model(x, time, padding, spectra)
    assert output["reconstructed"].shape == (4, 16, 1)
    output["reconstructed"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.branch.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in model.encoders.parameters())


def test_reset_parameters_draws_new_tokens() -> None:
    model = build(fusion="cross_attention")
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.reset_parameters()
    after = dict(model.named_parameters())
    assert all(not torch.equal(after[n], before[n]) for n in ("missing_spectrum", "missing_series", "position"))


def test_wrong_arguments_are_named() -> None:
    for arguments, message in [
        ({"fusion": "sum"}, "fusion is 'sum'"),
        ({"modalities": ()}, "modalities is"),
        ({"modalities": ("psd", ("psd", "acf"))}, "expected different names"),
        ({"modality_dropout": 1.0}, "modality_dropout is 1.0"),
        ({"step_features": 0}, "step_features is 0"),
        ({"latent_dim": 0}, "latent_channels is 0"),
        ({"branch_options": {"in_channels": 3}}, "branch_options has 'in_channels'"),
    ]:
        with pytest.raises(InputError, match=message):
            build(**arguments)
    with pytest.raises(InputTypeError, match="modalities is 'psd'"):
        build(modalities="psd")
    with pytest.raises(InputError, match="unknown autoencoder 'transformr'; did you mean 'transformer'"):
        MultimodalAutoencoder("transformr")


def test_wrong_input_is_named() -> None:
    model = build()
    x, time, padding, spectra = batch()
    for call, message in [
        (lambda: model(x[..., :1]), r"x has shape \(4, 9, 1\); expected \(B, L, 2\)"),
        (lambda: model(x, spectra={"pds": spectra["psd"]}), "unknown name 'pds'; did you mean 'psd'"),
        (
            lambda: model(x, spectra={"psd": spectra["psd"][:2]}),
            r"spectrum 'psd' has shape \(2, 20\); expected \(4, 20\)",
        ),
        (lambda: model(x, time, padding, spectra, torch.ones(4, 2, dtype=torch.bool)), r"present has shape \(4, 2\)"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(InputTypeError, match=r"present is of torch\.int64"):
        model(x, time, padding, spectra, torch.ones(4, 3, dtype=torch.int64))
