package relay

import (
	"runtime"

	"github.com/hashicorp/go-hclog"
)

// Options of a loop.
type Options struct {
	// Workers is the number of threads that move bytes; 0 is one per CPU that Go may use.
	Workers int
	// Logger is told about trouble with accepting; may be nil.
	Logger hclog.Logger
}

func (o Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return min(runtime.GOMAXPROCS(0), runtime.NumCPU())
}

func (o Options) logger() hclog.Logger {
	if o.Logger == nil {
		return hclog.NewNullLogger()
	}
	return o.Logger
}
