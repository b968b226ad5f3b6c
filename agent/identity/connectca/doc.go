// Package connectca is the wire form of the service by which Consul's servers sign certificates for Connect: messages and
// client of the package hashicorp.consul.connectca, generated from the .proto file beside it.
package connectca

//go:generate go -C ../../../tools/proto run . -root ../.. -sums agent/identity/connectca/generated.sum agent/identity/connectca/ca.proto
