"""`make docs`: write the generated pages."""

from pipeline.reference import generated_pages

for path, text in generated_pages().items():
    path.write_text(text)
