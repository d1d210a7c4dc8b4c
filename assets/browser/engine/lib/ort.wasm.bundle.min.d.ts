// The site's copy of ONNX Runtime Web (decoding/site/npm_packages.py) has the types that its package takes from this one.
export * from "onnxruntime-common";
