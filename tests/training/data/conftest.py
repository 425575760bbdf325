import pytest
from PIL import ImageFile


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that Pillow decodes from here on, each as often as it is decoded."""
    names = []
    prepare = ImageFile.ImageFile.load_prepare
    # Pillow calls it where pixels are made of a file, and not again for an image that has its pixels.
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda self: names.append(self.filename) or prepare(self))
    return names
