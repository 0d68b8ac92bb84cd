"""Writes the generated pages; run by `make docs`."""

from pipeline.reference import generated_pages

for path, text in generated_pages().items():
    path.write_text(text)
