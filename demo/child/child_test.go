package child

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"redis"}, {"redis", "-name", "redis1", "-address", "127.0.0.1:1", "-built-in"},
		{"web", "-address", "127.0.0.1:1", "-redis", "127.0.0.1:2", "-tls-cert", "a", "-tls-key", "b", "-tls-ca", "c", "-hold-max", "200ms"},
	} {
		if _, err := Parse(args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, args := range [][]string{{}, {"load"}, {"redis", "-nonsense"}, {"web", "extra"}, {"web", "-lifetime", "soon"}} {
		_, err := Parse(args)
		var wrong UsageError
		if !errors.As(err, &wrong) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestWhatCannotRun(t *testing.T) {
	for _, args := range [][]string{
		{"web", "-tls-ca", "/nonexistent"},
		{"web", "-hold-min", "1s", "-hold-max", "1ms"},
		{"web", "-address", "256.0.0.1:1"},
		{"redis", "-built-in", "-address", "256.0.0.1:1"},
	} {
		run, err := Parse(args)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(context.Background(), hclog.NewNullLogger()); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
