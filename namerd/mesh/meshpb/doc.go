// Package meshpb is the wire form of Linkerd 1.x's mesh interface: messages and services of the package io.linkerd.mesh,
// generated from the .proto files beside it. What must hold for Linkerd to read them is said in dtab.proto.
package meshpb

//go:generate go -C ../../../tools/proto run . -root ../.. -sums namerd/mesh/meshpb/generated.sum namerd/mesh/meshpb/codec.proto namerd/mesh/meshpb/delegator.proto namerd/mesh/meshpb/dtab.proto namerd/mesh/meshpb/interpreter.proto namerd/mesh/meshpb/resolver.proto
