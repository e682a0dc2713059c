"""Check the Docker engine, where it builds the chat's image."""

from stacks.preflight.programs import is_installed, output_of
from stacks.preflight.report import Report


def check_docker(report: Report) -> None:
    """Check that Docker is installed and its engine runs."""
    if not is_installed("docker"):
        report.missing(
            "Docker, which builds the chat's image, is not installed: see https://docs.docker.com/get-docker"
        )
    elif output_of("docker", "version") is None:
        report.missing("Docker is installed, but its engine does not answer: start it")
    else:
        report.ok("Docker")
