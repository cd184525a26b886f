"""Suffixes by which files count as videos."""

# fmt: off
VIDEO_SUFFIXES = (
    ".264", ".265", ".3g2", ".3gp", ".amv", ".apng", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264",
    ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov",
    ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod",
    ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
)
# fmt: on
"""Those of the containers that are opened (`container.DEMUXERS`). Compared in lower case."""


def is_video(name: str) -> bool:
    """Tells a video by its suffix alone."""
    return name[name.rfind(".") :].lower() in VIDEO_SUFFIXES if "." in name else False
