// Package e2e tests the real program on real servers: Consul, Nomad, Prometheus and Redis, which package stack starts.
// Its tests have the build tag servers; `make test` and `make e2e` run them.
package e2e
