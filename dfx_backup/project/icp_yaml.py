"""icp.yaml: only that it is there. Its contents belong to icp-cli, which has no work here yet."""

from typing import Final

FILE_NAME: Final = "icp.yaml"
