"""`python -m decoding.starter`: prepares the starter model, for instance ahead of a lesson.

With `--safetensors` it also writes transformers' files, for a vLLM server. Owns the command alone;
`decoding.models.starter` does the work.
"""

import sys

from decoding.models.starter import main

if __name__ == "__main__":
    if "--safetensors" in sys.argv[1:]:
        from decoding.engines.torch.safetensors_folder import starter_safetensors  # imported here: torch takes seconds

        sys.exit(main(starter_safetensors))
    sys.exit(main())
