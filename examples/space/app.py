"""The demo as a Space: the checkpoint that the variable AMIF_MODEL names, under the Space's own name."""

import os
import sys

from amif.examples.app import main

arguments = ["--model", os.environ.get("AMIF_MODEL", "amif-vqa")]
if "SPACE_HOST" in os.environ:  # Spaces set it, and reach the page through a proxy
    arguments += ["--host", "0.0.0.0", "--allowed_host", os.environ["SPACE_HOST"]]
if __name__ == "__main__":
    sys.argv = ["app.py", *arguments, *sys.argv[1:]]
    main()
