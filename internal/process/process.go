// Package process is what the program asks of the system for itself.
package process
