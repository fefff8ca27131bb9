"""Files and tables of triples: recognised by name and contents, read with pyarrow, written in layouts that others read."""
