"""The commands: where each one's options and function are, and how the help describes it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMANDS", "GROUPS", "Command"]


class Command(NamedTuple):
    """A command: where its options and its function are, and how its help describes it."""

    options: str
    function: str
    summary: str
    positional: tuple[str, ...]
    shortcuts: tuple[str, ...] = ()
    examples: str = ""


COMMANDS: dict[str, Command] = {
    "train": Command(
        "stgraph.tasks.options:RunOptions",
        "stgraph.cli.commands:train",
        "train a model and compare it with simple forecasts",
        ("data.path",),
        ("data.test", "data.coords"),
        """examples:
  stgraph train germany_pm10
  stgraph train data.npy --coords coords.npy
  stgraph train train.npy --test test.npy --data.input_steps 12 --data.horizon 3 --output runs/mine
  stgraph train --config config.yaml --trainer.max_epochs 20 --seeds 3""",
    ),
    "evaluate": Command(
        "stgraph.cli.options:EvaluateOptions",
        "stgraph.cli.commands:evaluate",
        "errors of a trained model on its test period or on other data",
        ("run", "data"),
        (),
        """examples:
  stgraph evaluate runs/germany_pm10
  stgraph evaluate runs/mine new_period.npy""",
    ),
    "predict": Command(
        "stgraph.cli.options:PredictOptions",
        "stgraph.cli.commands:predict",
        "forecast with a trained model",
        ("run", "data"),
        (),
        """examples:
  stgraph predict runs/mine latest.npy --output forecast.csv""",
    ),
    "info": Command(
        "stgraph.cli.options:InfoOptions",
        "stgraph.cli.commands:info",
        "what is in a file, a data set, a run or a model",
        ("target",),
        (),
        """examples:
  stgraph info data.npy
  stgraph info germany_pm10
  stgraph info runs/mine
  stgraph info spectranet""",
    ),
    "data": Command(
        "stgraph.cli.data:DataCommandOptions",
        "stgraph.cli.data:data",
        "data sets of the literature: list them, fetch one, check files",
        ("action", "target"),
        (),
        """examples:
  stgraph data list
  stgraph data info metr_la
  stgraph data get metr_la
  stgraph data check data.npy""",
    ),
    "score": Command(
        "stgraph.cli.score:ScoreOptions",
        "stgraph.cli.score:score",
        "errors of forecasts under the protocols of the literature",
        ("predictions",),
        (),
        """examples:
  stgraph score runs/metr_la
  stgraph score predictions.npz --protocol dcrnn,largest""",
    ),
    "benchmark": Command(
        "stgraph.cli.benchmark:BenchmarkOptions",
        "stgraph.cli.benchmark:benchmark",
        "compare models on data sets, over seeds and protocols",
        ("benchmark",),
        (),
        """examples:
  stgraph benchmark quick
  stgraph benchmark benchmarks/configs/reproduce-metr-la.yaml --processes 2""",
    ),
    "reproduce": Command(
        "stgraph.cli.reproduce:ReproduceOptions",
        "stgraph.cli.reproduce:reproduce",
        "repeat a run from its folder and compare every bit; reproduce fusion: a published grid",
        ("run",),
        (),
        """examples:
  stgraph reproduce runs/germany_pm10

stgraph reproduce fusion runs a published grid of image fusion instead; see stgraph reproduce fusion --help.
A run in a folder called fusion is repeated by stgraph reproduce ./fusion.""",
    ),
    "reproduce fusion": Command(
        "stgraph.cli.reproduce_fusion:ReproduceFusionOptions",
        "stgraph.cli.reproduce_fusion:reproduce",
        "run the published grid of image fusion on a cube of one's own, beside the published values",
        ("mat_file",),
        (),
        """examples:
  stgraph reproduce fusion paviaU.mat --dataset pavia_university --mat_key paviaU
  stgraph reproduce fusion paviaU.mat --dataset pavia_university --settings 4x4,8x1 --psf gaussian,airy --method both
  stgraph reproduce fusion paviaU.mat --dataset pavia_university --all --output table.csv
  stgraph reproduce fusion scene.mat --dataset other --num_endmembers 6""",
    ),
    "lightcurve mock": Command(
        "stgraph.cli.lightcurve_options:MockOptions",
        "stgraph.cli.lightcurve:mock",
        "write mock light curves",
        ("output",),
        (),
        """examples:
  stgraph lightcurve mock curves.h5 --n_samples 1500""",
    ),
    "lightcurve spectra": Command(
        "stgraph.cli.lightcurve_options:SpectraOptions",
        "stgraph.cli.lightcurve:spectra",
        "power spectra, autocorrelations and F-statistics of light curves",
        ("input", "output"),
        (),
        """examples:
  stgraph lightcurve spectra curves.h5 spectra.h5
  stgraph lightcurve spectra kepler/ spectra.h5 --NW 3 --K 5""",
    ),
    "lightcurve train": Command(
        "stgraph.tasks.reconstruction_options:ReconstructionOptions",
        "stgraph.cli.lightcurve:train",
        "train an autoencoder that reconstructs hidden points of light curves, spectra or any series",
        ("data.path",),
        (),
        """examples:
  stgraph lightcurve train curves.h5
  stgraph lightcurve train spectra.h5 --model.name mlp --data.channels psd
  stgraph lightcurve train --config configs/colorado_gaps.yaml""",
    ),
    "lightcurve evaluate": Command(
        "stgraph.cli.lightcurve_options:EvaluateCurvesOptions",
        "stgraph.cli.lightcurve:evaluate",
        "errors of an autoencoder on its test series or on other data",
        ("run", "data"),
        (),
        """examples:
  stgraph lightcurve evaluate runs/curves-transformer --output errors.csv""",
    ),
    "lightcurve fill": Command(
        "stgraph.cli.lightcurve_options:FillOptions",
        "stgraph.cli.lightcurve:fill",
        "fill the gaps of series",
        ("run", "data"),
        (),
        """examples:
  stgraph lightcurve fill runs/curves-transformer --output filled.csv""",
    ),
    "lightcurve embed": Command(
        "stgraph.cli.lightcurve_options:EmbedOptions",
        "stgraph.cli.lightcurve:embed",
        "latent vectors of series, and what they tell of a property",
        ("run", "data"),
        (),
        """examples:
  stgraph lightcurve embed runs/spectra-mlp --output latents.h5 --target lc_type""",
    ),
    "lightcurve plot": Command(
        "stgraph.cli.lightcurve_options:PlotOptions",
        "stgraph.cli.lightcurve_figures:plot",
        "pictures of reconstructions, training and latent vectors",
        ("source",),
        (),
        """examples:
  stgraph lightcurve plot runs/curves-transformer
  stgraph lightcurve plot latents.h5 --method tsne --color lc_type""",
    ),
    "anomaly mock": Command(
        "stgraph.cli.anomaly_options:MockSpectraOptions",
        "stgraph.cli.anomaly:mock",
        "write mock spectra of galaxies",
        ("output",),
        (),
        """examples:
  stgraph anomaly mock galaxies.h5 --n 600""",
    ),
    "anomaly inject": Command(
        "stgraph.cli.anomaly_options:InjectOptions",
        "stgraph.cli.anomaly:inject",
        "put anomalies into spectra, with labels",
        ("input", "output"),
        (),
        """examples:
  stgraph anomaly inject galaxies.h5 labelled.h5 --kinds line,step --fraction 0.1""",
    ),
    "anomaly train": Command(
        "stgraph.tasks.anomaly_options:AnomalyOptions",
        "stgraph.cli.anomaly:train",
        "learn what is normal in spectra, sensors or grids, and find what is not",
        ("data.path",),
        (),
        """examples:
  stgraph anomaly train galaxies.h5
  stgraph anomaly train galaxies.h5 --detector.name autoencoder --model.preset documented
  stgraph anomaly train germany_pm10""",
    ),
    "anomaly detect": Command(
        "stgraph.cli.anomaly_options:DetectOptions",
        "stgraph.cli.anomaly:detect",
        "find anomalies in other data by a run",
        ("run", "data"),
        (),
        """examples:
  stgraph anomaly detect runs/galaxies-anomalies labelled.h5""",
    ),
    "anomaly plot": Command(
        "stgraph.cli.anomaly_options:PlotAnomaliesOptions",
        "stgraph.cli.anomaly_figures:plot",
        "pictures of anomalies, with the sky around the objects",
        ("run", "data"),
        (),
        """examples:
  stgraph anomaly plot runs/galaxies-anomalies --only_anomalous --image_provider sdss""",
    ),
    "anomaly report": Command(
        "stgraph.cli.anomaly_options:ReportAnomaliesOptions",
        "stgraph.cli.anomaly:report",
        "one HTML file with scores and pictures of a run",
        ("run",),
        (),
        """examples:
  stgraph anomaly report runs/galaxies-anomalies""",
    ),
    "fuse run": Command(
        "stgraph.tasks.fusion_options:FusionOptions",
        "stgraph.cli.fuse:run",
        "make a sharp hyperspectral image from a blurred one and a multispectral one",
        ("config",),
        (),
        """examples:
  stgraph fuse run fusion.yaml
  stgraph fuse run fusion.yaml --epochs 500 --output_dir outputs/short
  stgraph fuse run --mat_file scene.mat --mat_key cube --wavelengths 400,900
  stgraph fuse run --synthetic false --hr_msi_file msi.tif --lr_hsi_file hsi.tif --provide_srf --srf_file srf.npy""",
    ),
    "fuse simulate": Command(
        "stgraph.cli.fuse_options:SimulatePairOptions",
        "stgraph.cli.fuse:simulate",
        "make both images from one hyperspectral cube, by Wald's protocol",
        ("cube", "output"),
        (),
        """examples:
  stgraph fuse simulate scene.mat pair/ --wavelengths 400,900
  stgraph fuse simulate scene.tif pair/ --downsample_ratio 8 --sensor Sentinel-2A --format tif""",
    ),
    "fuse metrics": Command(
        "stgraph.cli.fuse_options:FusionMetricsOptions",
        "stgraph.cli.fuse:metrics",
        "PSNR, SAM, ERGAS and more of a fused image against the true one",
        ("estimate", "truth"),
        (),
        """examples:
  stgraph fuse metrics fused.npy truth.npy --ratio 4
  stgraph fuse metrics fused.h5 pair/truth.h5 --per_band bands.csv --error_map errors.png""",
    ),
}

#: Commands of several words, by their first word.
GROUPS: dict[str, str] = {
    "lightcurve": "light curves and their spectra, and autoencoders that fill gaps of any series",
    "anomaly": "anomalies of spectra, of networks of sensors and of grids",
    "fuse": "sharp hyperspectral images from a blurred one and a multispectral one",
}
