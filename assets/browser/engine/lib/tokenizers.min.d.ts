// The site's copy of the tokenizers' library (decoding/site/npm_packages.py) has its package's types.
export * from "@huggingface/tokenizers";
