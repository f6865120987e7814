"""Accuracy, clusters and SNR beside their controls: the numbers behind the first three claims."""

import numpy as np
import pandas as pd

from conftest import FewNodes
from lib import snp
from lib.experiments import sharpening


def test_a_table_has_each_site_with_one_control_everywhere():
    run = FewNodes()
    table = sharpening.table(run, thresholds=(0.2, 0.5))
    assert len(table) == 2 * 2 * 2 and set(table["silencing"]) == {"readout", "input"}
    for row in table.itertuples():
        nodes = run.nodes(row.site, "test", row.silencing)
        found = snp.site_statistics(nodes, row.threshold)
        assert row.snr == found["snr"] and row.shuffled_snr == snp.relabelled_snr(nodes, row.threshold)
        clusters = [index for _, index in snp.clusters(nodes, row.threshold)]
        assert np.isclose(row.recognised, np.mean((np.concatenate(clusters) >= 0).sum(1)))


def test_growth_is_of_the_excess_from_first_to_last_encoder_in_any_order_of_rows():
    table = sharpening.table(FewNodes(), thresholds=(0.2, 0.5))
    later = table.assign(encoder=2, snr=table["snr"] + 1, shuffled_snr=table["shuffled_snr"] + 0.25)
    several = pd.concat([table, later])
    grown = sharpening.growth(several)
    assert len(grown) == 8 and np.allclose(grown["change"], 0.75)
    assert np.allclose(sharpening.growth(several.iloc[::-1]).loc[grown.index, "change"], 0.75)


def test_the_error_of_a_growth_is_that_of_both_ends_and_unknown_where_one_is():
    table = sharpening.table(FewNodes(), thresholds=(0.3,), silencings=("readout",))
    ends = pd.concat([table.assign(snr_error=0.3, shuffled_snr_std=0.0), table.assign(encoder=2, snr_error=0.4)])
    ends["shuffled_snr_std"] = 0.0
    assert np.allclose(sharpening.growth(ends)["error"], 0.5)
    assert np.allclose(sharpening.growth(ends.assign(shuffled_snr_std=np.sqrt(5)))["error"], np.sqrt(0.25 + 2))
    unknown = ends.assign(snr_error=ends["snr_error"].replace(0.4, np.nan))
    for without in (unknown, ends.drop(columns="snr_error")):
        assert np.isnan(sharpening.growth(without)["error"]).all()


def test_growth_is_that_of_the_excess_over_shuffled_labels_whatever_the_layers_are_called():
    rows = [
        {"network": "a", "seed": 0, "place": "ff", "layer": e, "snr": s, "control": c}
        for e, s, c in ((2, 9.0, 9.0), (1, 2.0, 1.0), (3, 4.0, 1.5))
    ]
    found = sharpening.growth(pd.DataFrame(rows), ("network", "seed", "place"), "layer", "control")
    row = found.loc[("a", 0, "ff")]
    assert (row["first"], row["last"], row["null_last"], row["change"]) == (2.0, 4.0, 1.5, 1.5)
    assert sharpening.growth(pd.DataFrame(rows), ("network",), "layer", "control").index.tolist() == ["a"]
