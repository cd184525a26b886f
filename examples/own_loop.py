"""Trains a torch network of one's own on weak and strong views: FixMatch, for one epoch.

Run it on a folder of class folders: `python examples/own_loop.py my_videos`
"""

import sys

import pipelines


def main(folder: str) -> None:
    import torch  # here, since workers import this file again: they stay small
    from torch import Tensor, nn
    from torch.nn.functional import cross_entropy

    data = pipelines.open_dataset(folder, labeled="1")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layers = nn.Conv3d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, len(data.classes))
    network = nn.Sequential(*layers).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def logits(clips: Tensor) -> Tensor:  # (B, 3, T, S, S) uint8 -> (B, K)
        return network(clips.float() / 127.5 - 1)

    with pipelines.SemiLoader.from_dataset(data, clips=("8x8", None), batch=(2, 4), crop_size=112) as loader:
        for step, batch in enumerate(loader, 1):
            labeled, unlabeled = batch.labeled, batch.unlabeled
            assert unlabeled is not None
            confidence, guess = logits(unlabeled.weak.primary).detach().softmax(dim=1).max(dim=1)
            losses = cross_entropy(logits(unlabeled.strong.primary), guess, reduction="none") * (confidence > 0.9)
            loss = cross_entropy(logits(labeled.standard.primary), labeled.labels) + losses.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"step {step} of {len(loader)}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
