"""The page that the benchmark of unknown images keeps."""

from benchmarks.accuracy.unknown import with_section


def test_a_table_takes_the_place_of_the_one_with_its_heading() -> None:
    page = "# AUROC\n\n## vit, 112 pixels\n\nold\n\n## lite0, 64 pixels\n\nother\n"
    made = with_section(page, "## vit, 112 pixels\n\nnew\n")
    assert made == "# AUROC\n\n## lite0, 64 pixels\n\nother\n\n## vit, 112 pixels\n\nnew\n"
    assert with_section("# AUROC\n", "## vit, 112 pixels\n\nnew\n") == "# AUROC\n\n## vit, 112 pixels\n\nnew\n"
