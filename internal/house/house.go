// Package house holds no code, only the tests that keep the house in order: who may import whom, and the habits that a
// program can check.
package house
