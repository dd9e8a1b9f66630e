import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread():
    """Threads that wait for each other on a busy machine make small tensors many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
