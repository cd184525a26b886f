"""Published figures of GPUs for `cmpl bench-loader --model`, each with its source. None was measured here.

Neither torch nor DALI nor numpy is imported: `cmpl --help` lists the names.

Sources:
- frames a second of one NVDEC engine at 1920x1080, and the video clock they were taken at: NVIDIA, NVDEC Application
  Note, Video Codec SDK 13.0, section 3. It says that Hopper and GA100 decode like Turing, that rates scale with the
  video clock, and that a GPU's rate is the engine's times the number of engines.
- number of NVDEC engines: NVIDIA's Video Encode and Decode GPU Support Matrix; the note for GeForce ("a single NVDEC").
- video clock of a GPU: "Max Clocks, Video" as `nvidia-smi -q` prints it on such a GPU (logs in public repositories).
- dense bf16 rate and memory bandwidth: NVIDIA's data sheets (H100 SXM, H200 SXM, A100 80GB SXM, L4) and the Ada
  architecture white paper (RTX 4090, fp32 accumulation). Where a sheet gives the rate with sparsity, half of it.
- PCIe: 16 lanes of generation 4 or 5 carry 32 or 64 GB/s in one direction (PCI-SIG's nominal rates).
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """One NVDEC engine of an architecture: {codec: frames a second at 1920x1080}, at a video clock in MHz."""

    frames_per_second: dict[str, float]
    video_mhz: float


TURING = Decoder(frames_per_second={"h264": 771, "vp9": 932, "hevc": 1316}, video_mhz=1860)
ADA = Decoder(frames_per_second={"h264": 903, "vp9": 1290, "hevc": 1641, "av1": 1018}, video_mhz=2160)
REFERENCE_PIXELS = 1920 * 1080


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """What the model needs of one GPU."""

    name: str
    decoder: Decoder
    num_decoders: int
    video_mhz: float
    bf16_tflops: float
    """Dense, peak."""
    memory_bytes_per_second: float
    pcie_bytes_per_second: float
    """From the host to the GPU."""

    def decoded_pixels_per_second(self, codec: str) -> float:
        """Pixels a second of one engine. Raises KeyError for a codec that it does not decode."""
        rate = self.decoder.frames_per_second[codec] * self.video_mhz / self.decoder.video_mhz
        return rate * REFERENCE_PIXELS


GPUS: dict[str, Gpu] = {
    "h200": Gpu(
        name="H200 SXM",
        decoder=TURING,
        num_decoders=7,
        video_mhz=1545,
        bf16_tflops=989,
        memory_bytes_per_second=4.8e12,
        pcie_bytes_per_second=64e9,
    ),
    "h100": Gpu(
        name="H100 SXM",
        decoder=TURING,
        num_decoders=7,
        video_mhz=1545,
        bf16_tflops=989,
        memory_bytes_per_second=3.35e12,
        pcie_bytes_per_second=64e9,
    ),
    "a100": Gpu(
        name="A100 80GB SXM",
        decoder=TURING,
        num_decoders=5,
        video_mhz=1290,
        bf16_tflops=312,
        memory_bytes_per_second=2.039e12,
        pcie_bytes_per_second=32e9,
    ),
    "rtx4090": Gpu(
        name="GeForce RTX 4090",
        decoder=ADA,
        num_decoders=1,
        video_mhz=2415,
        bf16_tflops=165,
        memory_bytes_per_second=1.008e12,
        pcie_bytes_per_second=32e9,
    ),
    "l4": Gpu(
        name="L4",
        decoder=ADA,
        num_decoders=4,
        video_mhz=1770,
        bf16_tflops=121,
        memory_bytes_per_second=0.3e12,
        pcie_bytes_per_second=32e9,
    ),
}
"""The GPUs that can be asked for."""
