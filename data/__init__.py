"""The contracts: schemas, atomic storage, manifests and fingerprints, problem readers, prompts, model identity."""
