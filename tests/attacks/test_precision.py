from __future__ import annotations

import pytest
import torch

from datacurate.attacks.precision import full_float32


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_holds_and_restores(device: str) -> None:
    def settings() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    def fail() -> None:
        with torch.autocast("cpu", torch.bfloat16), full_float32(torch.device(device)):
            if device == "cuda":
                assert settings() == (False, False)
            else:
                assert (a @ a).dtype == torch.float32
            raise ZeroDivisionError

    before, a = settings(), torch.rand(4, 4)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert settings() == before
