"""Which options of an anomaly run are out of range, exclude each other, or would have no effect.

This file imports nothing heavy, as the options themselves.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stgraph.errors import InputError

if TYPE_CHECKING:
    from stgraph.tasks.anomaly_options import AnomalyOptions, AnomalyRuleOptions

__all__ = ["check_options"]

#: Options of the data that only a network to train needs.
_DATA_OF_TRAINING = ("scaling", "val", "batch_size")
#: Arguments of the detector that other options set.
_SET_ELSEWHERE = {
    "network": "the options of model",
    "scaling": "data.scaling",
    "rule": "rule.name",
    "rule_arguments": "the options of rule",
}
#: Options of the loss, and the loss that has them.
_LOSS_OF = {"weight_factor": "gradient", "huber_delta": "huber"}


def check_options(options: AnomalyOptions) -> None:
    """Refuse values that can be seen to be wrong without the data.

    Raises:
        InputError: If a value is out of range, or an option has no effect beside the others.
    """
    data, trainer = options.data, options.trainer
    if data.path is None:
        raise InputError("no data: name a file of spectra or of a series, or a data set")
    positive = {
        "data.batch_size": data.batch_size,
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.devices": trainer.devices,
        "trainer.num_nodes": trainer.num_nodes,
        "trainer.early_stopping": trainer.early_stopping,
        "trainer.log_every_n_steps": trainer.log_every_n_steps,
        "trainer.checkpoint_every_n_steps": trainer.checkpoint_every_n_steps,
    }
    for name, value in positive.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if options.optimizer.learning_rate <= 0:
        raise InputError(f"optimizer.learning_rate is {options.optimizer.learning_rate}; expected more than 0")
    kept = data.calibration or 0.0
    if not (0 < data.val < 1 and 0 <= kept < 1 and data.val + kept < 1):
        raise InputError(
            f"data.val is {data.val} and data.calibration {kept}; expected shares that leave something to train on"
        )
    rate = options.detector.false_alarm_rate
    if rate is not None and not 0 < rate < 1:
        raise InputError(f"detector.false_alarm_rate is {rate}; expected a share between 0 and 1")
    if rate is not None and data.calibration == 0:
        raise InputError("detector.false_alarm_rate needs a calibration share, and data.calibration is 0")
    if data.min_wavelength is not None and data.min_wavelength <= 0:
        raise InputError(f"data.min_wavelength is {data.min_wavelength}; expected more than 0 angstrom")
    if options.overwrite and options.resume:
        raise InputError("overwrite and resume exclude each other: one replaces the run, the other continues it")
    _check_rule(options.rule)
    _check_effect(options)


def _check_rule(rule: AnomalyRuleOptions) -> None:
    if rule.percentile_threshold is not None and not 0 <= rule.percentile_threshold <= 100:
        raise InputError(f"rule.percentile_threshold is {rule.percentile_threshold}; expected 0 to 100")
    for name in ("abs_residual_threshold", "rel_residual_threshold"):
        value = getattr(rule, name)
        if value is not None and not value >= 0:
            raise InputError(f"rule.{name} is {value}; expected at least 0")
    if rule.window_size < 2:
        raise InputError(f"rule.window_size is {rule.window_size}; expected at least 2")
    if not 0 <= rule.overall_anomaly_threshold <= 2:
        raise InputError(f"rule.overall_anomaly_threshold is {rule.overall_anomaly_threshold}; expected 0 to 2")
    if rule.range_mismatch_factor <= 0:
        raise InputError(f"rule.range_mismatch_factor is {rule.range_mismatch_factor}; expected more than 0")
    constants = rule.abs_residual_threshold, rule.rel_residual_threshold
    if rule.percentile_threshold is not None and constants != (None, None):
        raise InputError("rule has thresholds of two rules: a percentile, and fixed ones; expected those of one")
    if rule.name is not None and rule.implied not in (None, rule.name):
        raise InputError(f"rule has thresholds for rule.name {rule.implied!r}, and it is {rule.name!r}")


def _check_effect(options: AnomalyOptions) -> None:
    """Refuse what was asked for and would not be done."""
    if not options.trains:
        changed = [f"data.{name}" for name in _changed(options.data) if name in _DATA_OF_TRAINING]
        for group in ("rule", "model", "loss", "optimizer"):
            changed += [f"{group}.{name}" for name in _changed(getattr(options, group))]
        if changed:
            raise InputError(f"{changed[0]} is for detector.name 'autoencoder'; other detectors train no network")
        return
    arguments = options.detector.arguments or {}
    for name in arguments:
        if name in _SET_ELSEWHERE:
            raise InputError(f"detector.arguments has {name!r}; expected it in {_SET_ELSEWHERE[name]}")
    rule = options.rule_name
    if rule == "graph_residual":
        changed = [name for name in _changed(options.rule) if name != "name"]
        if changed:
            raise InputError(
                f"rule.{changed[0]} is for rule.name 'percentile' or 'fixed', and the rule is {rule!r}, whose options "
                "are detector.arguments"
            )
    elif arguments:
        raise InputError(
            f"detector.arguments has {next(iter(arguments))!r}, which is for rule.name 'graph_residual', and the rule "
            f"is {rule!r}"
        )
    for name in _changed(options.loss):
        if _LOSS_OF.get(name, options.loss_kind) != options.loss_kind:
            raise InputError(f"loss.{name} is for loss.kind {_LOSS_OF[name]!r}, and the loss is {options.loss_kind!r}")


def _changed(group: Any) -> list[str]:
    """Names of the options of a group that are not the default."""
    default = type(group)()
    names = (field.name for field in dataclasses.fields(group))
    return [name for name in names if getattr(group, name) != getattr(default, name)]
