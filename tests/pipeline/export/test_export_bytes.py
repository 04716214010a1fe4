"""An export says nothing of where it was made: equal weights, equal bytes."""

import tensorflow as tf

from steadyrank.pipeline.export.vocabulary_table import lines_of, values_of


def test_no_path_of_the_machine_is_in_an_export(exported, trained):
    held = [path for path in exported.rglob("*") if path.is_file()]
    for path in (p for p in held if p.name != "card.json"):  # which names the user's log
        content = path.read_bytes()
        assert str(trained.parent).encode() not in content, path
        assert b"vocab/user.txt" not in content, path


def _shared_name(table) -> str:
    graph = tf.Graph()
    with graph.as_default():
        table._create_resource()
    (made,) = graph.get_operations()
    return made.get_attr("shared_name").decode()


def test_a_table_is_called_after_what_it_holds(tmp_path):
    for folder, text in (("a", "7\n9\n"), ("b", "7\n9\n"), ("c", "9\n7\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(text)
    paths = [tmp_path / folder / "x.txt" for folder in "abc"]
    kinds = (tf.string, tf.int64)
    names = {k: [_shared_name(lines_of(p, k)) for p in paths] for k in kinds}
    names["values"] = [_shared_name(values_of(p, tf.string, "")) for p in paths]
    assert all(one == two != three for one, two, three in names.values())
    assert len({name for each in names.values() for name in each}) == 6
    keys = tf.constant([7, 9, 8], tf.int64)
    found = [lines_of(path, tf.int64).lookup(keys).numpy().tolist() for path in paths]
    assert found == [[0, 1, -1], [0, 1, -1], [1, 0, -1]]
    assert values_of(paths[2], tf.string, "?").lookup(
        tf.constant([0, 1, 2], tf.int64)
    ).numpy().tolist() == [b"9", b"7", b"?"]
