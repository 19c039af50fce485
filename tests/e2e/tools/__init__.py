"""The Kubernetes programs that the tests run, built from Go modules and kept between runs."""
