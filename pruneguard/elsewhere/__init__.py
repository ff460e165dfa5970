"""A released version where PruneGuard does not run: as a Triton repository, for KServe, on a device."""
