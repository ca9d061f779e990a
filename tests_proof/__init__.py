"""The longer runs of the template proof: mutations, made-up templates, real Go. Run: `make test-proof`."""
