//go:build linux && !cgo

package userns

import (
	"errors"

	"github.com/opencontainers/runc/libcontainer/configs"
)

var errNoCgo = errors.New("user namespaces need a Nomad that was built with cgo")

// GetUserNamespaceMappings reads the mappings of a user namespace.
func GetUserNamespaceMappings(string) (uidMap, gidMap []configs.IDMap, err error) {
	return nil, nil, errNoCgo
}

// IsSameMapping reports whether two mappings are the same.
func IsSameMapping(a, b []configs.IDMap) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
