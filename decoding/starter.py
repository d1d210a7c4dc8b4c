"""`python -m decoding.starter`: the starter model, prepared ahead of a lesson; with `--safetensors` also as
transformers' own files, for a vLLM server. `decoding.models.starter` does it.
"""

import sys

from decoding.models.starter import main

if __name__ == "__main__":
    if "--safetensors" in sys.argv[1:]:
        from decoding.engines.torch.safetensors_folder import starter_safetensors  # here: torch takes seconds to import

        sys.exit(main(starter_safetensors))
    sys.exit(main())
