"""The optimizer: faster than Adam where parameters are strongly coupled, and continued exactly from its state."""

import copy

import torch

from les_md.training.soap import SOAP


def coupled_problem(seed=0):
    """Least squares for a matrix behind a badly conditioned one, as float64 parameters and loss."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=generator))[0]
    mixing = rotation * torch.logspace(0, -2, 12, dtype=torch.float64) @ rotation.T
    target = torch.randn(12, 8, dtype=torch.float64, generator=generator)
    weights = torch.zeros(12, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    stack = torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True)

    def loss():
        return (mixing @ (weights - target)).square().sum() + (bias - 1.0).square().sum() + (stack - 0.5).square().sum()

    return [weights, bias, stack], loss


def minimise(optimizer, loss, n_steps):
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1.0 - step / n_steps)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return float(loss().detach())


def test_coupled_parameters():
    parameters, loss = coupled_problem()
    ours = minimise(SOAP(parameters, lr=0.1), loss, 300)
    parameters, loss = coupled_problem()
    adam = minimise(torch.optim.Adam(parameters, lr=0.1), loss, 300)
    assert ours < 0.1 * adam


def test_continues_from_its_state():
    def continued(interrupt):
        parameters, loss = coupled_problem()
        optimizer = SOAP(parameters, lr=0.1)
        for step in range(50):
            if interrupt and step == 23:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = SOAP(parameters, lr=0.1)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        return parameters

    for ours, reference in zip(continued(True), continued(False), strict=True):
        assert torch.equal(ours, reference)


def test_weight_decay():
    weights = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
    optimizer = SOAP([weights], lr=0.1, weight_decay=0.5)
    (0.0 * weights.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(weights.detach(), torch.full((3, 3), 0.95, dtype=torch.float64))
