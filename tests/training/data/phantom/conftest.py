import datasets
import pytest

from amif.training.data.phantom.datasets import load_phantom_pretraining, load_phantom_vqa


@pytest.fixture(scope="session")
def vqa() -> datasets.DatasetDict:
    return load_phantom_vqa(num_studies=360)


@pytest.fixture(scope="session")
def pretraining() -> datasets.DatasetDict:
    return load_phantom_pretraining(num_studies=120)
