"""Sheets of views."""


def test_equal_views_are_shown_once(page):
    assert len([one for one in page.all("img") if "augmented views" in one["alt"]]) == 2
    assert "as moco (seed 0), moco_mse (seed 0) saw them" in page.text
    assert "as moco_bt (seed 0) saw them" in page.text
