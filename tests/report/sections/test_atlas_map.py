"""Points, colours and the drawing of a map."""

import numpy as np
import pandas as pd

from medstrata.report.read.results import Atlas
from medstrata.report.read.runs import collect
from medstrata.report.render.figures import PlotWords
from medstrata.report.sections.atlas_map import LIMIT, MapPoints, colouring, map_figure, read_points
from support.layer_runs import atlas_run


def test_colours_go_to_the_frequent_and_grey_to_the_rest():
    values = [str(i) for i in range(9) for _ in range(20 - i)] + [None, None]
    points = MapPoints(places=np.zeros((len(values), 2)), columns={"site": tuple(values)})
    entries = colouring("site", [points, points]).entries
    assert [name for _, name, _ in entries] == ["0", "1", "2", "3", "4", "5", "6", None]
    assert [images for *_, images in entries] == [20, 19, 18, 17, 16, 15, 14, 13 + 12 + 2]
    assert len({colour for colour, *_ in entries}) == 8


def test_classes_keep_the_order_of_the_task():
    points = MapPoints(places=np.zeros((5, 2)), columns={"label": ("b", "b", "b", "a", "c")})
    entries = colouring("label", [points], order=("a", "b")).entries
    assert [name for _, name, _ in entries] == ["a", "b", "c"]


def test_map_draws_every_point_once_up_to_a_limit():
    draw = np.random.default_rng(0)
    for images in (50, LIMIT + 500):
        values = tuple("ab"[i % 2] for i in range(images))
        points = MapPoints(places=draw.normal(size=(images, 2)), columns={"label": values})
        drawn = map_figure(points, colouring("label", [points]), PlotWords("m", "", ""))
        paths = [patch.get_path() for patch in drawn.figure.axes[0].patches]
        assert sum(len(path) for path in paths) == 2 * min(images, LIMIT)
        inside = np.concatenate([path.vertices for path in paths])
        assert inside.min() >= -0.001
        assert inside.max() <= 1.001


def test_columns_without_values_are_read(tmp_path):
    run = atlas_run(tmp_path / "a", "moco")
    points = pd.read_parquet(run / "map.parquet").assign(label=[1.0, float("nan")] * 200)
    points.to_parquet(run / "map.parquet", index=False)
    read = read_points(collect([run]).of(Atlas)[0])
    assert read.columns["label"][:2] == ("1.0", None)
    assert set(read.columns["site"]) == {None}
