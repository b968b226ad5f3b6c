//go:build linux && !cgo

// Package nsenter enters namespaces before Go's runtime starts. That needs C; without it there is nothing here.
package nsenter
