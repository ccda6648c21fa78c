"""The parts of SpecTra-Net, made from its options."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stgraph.errors import InputError
from stgraph.models.options import SpecTraNetOptions
from stgraph.nn import GOT, MGAT, SFE, ResidualBlock, TemporalEncoder, TGating
from stgraph.nn.spectral.sequence import sequence_layer

__all__ = ["blocks", "got", "mgat", "node_embedding", "required", "temporal_encoder"]


def blocks(count: int | None, channels: int) -> nn.Sequential:
    """Return residual blocks, one after the other."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count or 0)))


def required(value: int | None, name: str) -> int:
    """Return an option that counts something.

    Raises:
        InputError: If it is not set or less than 1.
    """
    if value is None or value < 1:
        raise InputError(f"{name} is {value}; expected at least 1")
    return value


def temporal_encoder(
    options: SpecTraNetOptions, in_features: int, input_steps: int, periods: Sequence[float]
) -> TemporalEncoder:
    """Return what turns the window of a node into a feature."""
    d, reference = required(options.d_model, "d_model"), options.preset == "reference"
    sfe = layer = None
    if options.use_sfe and options.temporal == "sfe":
        sfe = SFE(d, required(options.num_frequencies, "num_frequencies"), learn_gain=not reference)
    elif options.use_sfe:
        layer = sequence_layer(str(options.temporal), d, input_steps)
    tgating = TGating(
        input_steps,
        gain=float(options.tgating_gain or 0) if options.use_tgating else 0.0,
        normalization=str(options.tgating_normalization),
        per_node=bool(options.tgating_per_node),
    )
    return TemporalEncoder(
        in_features,
        d,
        input_steps,
        periods,
        sfe,
        tgating,
        layer=layer,
        harmonics=required(options.harmonics, "harmonics"),
    )


def node_embedding(options: SpecTraNetOptions, num_nodes: int | None, d: int) -> nn.Sequential | None:
    """Return the learned feature of each node, ``None`` where the number of nodes is not known or none is wanted."""
    if not options.node_embedding or num_nodes is None:
        return None
    table = nn.Embedding(num_nodes, options.node_embedding)
    # From zero, a node of which training sees little stays what nodes are on average.
    nn.init.zeros_(table.weight)
    return nn.Sequential(table, nn.Linear(options.node_embedding, d))


def got(options: SpecTraNetOptions, d: int, pos_dim: int) -> GOT:
    """Return the transport layer."""
    return GOT(
        d,
        required(options.num_prototypes, "num_prototypes"),
        pos_dim,
        eps=float(options.got_eps or 0),
        tau=float(options.got_tau or 0),
        transport=str(options.got_transport),
        rho=float(options.got_rho or 0),
        learn_marginal=bool(options.got_learn_marginal),
        embedding_distance=bool(options.got_embedding_distance),
        dropout=float(options.dropout or 0),
    )


def mgat(options: SpecTraNetOptions, d: int, pos_dim: int) -> MGAT:
    """Return the attention layer."""
    return MGAT(
        d,
        pos_dim,
        required(options.mgat_heads, "mgat_heads"),
        radius=float(options.mgat_radius or 0),
        dropout=float(options.dropout or 0),
    )
