// Package child runs the demo's workloads as processes of their own. The program starts itself again for them, so that
// one binary is enough on a laptop and in a Nomad job:
//
//	argosy demo-child redis -name redis1 -address 127.0.0.1:6379
//	argosy demo-child web -address 127.0.0.1:7770 -redis 127.0.0.1:7474
package child

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/redisd"
	"argosy/demo/web"
)

// Command is the hidden subcommand of argosy.
const Command = "demo-child"

// UsageError is a wrong call, as opposed to something that failed.
type UsageError struct{ error }

// Runner is a parsed child, ready to run until its context ends.
type Runner func(ctx context.Context, log hclog.Logger) error

// Parse reads the arguments behind demo-child.
func Parse(args []string) (Runner, error) {
	if len(args) == 0 {
		return nil, UsageError{errors.New("which child: redis or web?")}
	}
	f := flag.NewFlagSet(Command+" "+args[0], flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var run Runner
	switch args[0] {
	case "redis":
		run = redis(f)
	case "web":
		run = webServer(f)
	default:
		return nil, UsageError{fmt.Errorf("no child %q: there are redis and web", args[0])}
	}
	if err := f.Parse(args[1:]); err != nil {
		return nil, UsageError{fmt.Errorf("%s: %w", f.Name(), err)}
	}
	if f.NArg() > 0 {
		return nil, UsageError{fmt.Errorf("%s: unexpected argument %q", f.Name(), f.Arg(0))}
	}
	return run, nil
}

func redis(f *flag.FlagSet) Runner {
	var o redisd.Options
	f.StringVar(&o.Name, "name", "redis", "")
	f.StringVar(&o.Address, "address", "127.0.0.1:6379", "")
	builtIn := f.Bool("built-in", false, "")
	return func(ctx context.Context, log hclog.Logger) error {
		if !*builtIn {
			o.Server = redisd.Find()
		}
		return redisd.Run(ctx, o, log)
	}
}

func webServer(f *flag.FlagSet) Runner {
	c := web.Defaults()
	address := f.String("address", "127.0.0.1:7770", "")
	f.StringVar(&c.Redis, "redis", "127.0.0.1:7474", "")
	f.DurationVar(&c.Lifetime, "lifetime", c.Lifetime, "")
	f.DurationVar(&c.HoldMin, "hold-min", c.HoldMin, "")
	f.DurationVar(&c.HoldMax, "hold-max", c.HoldMax, "")
	f.DurationVar(&c.Work, "latency", c.Work, "")
	f.DurationVar(&c.Expiry, "expiry", c.Expiry, "")
	cert := f.String("tls-cert", "", "")
	key := f.String("tls-key", "", "")
	ca := f.String("tls-ca", "", "")
	service := f.String("tls-service", "redis", "")
	return func(ctx context.Context, log hclog.Logger) error {
		if c.HoldMax < c.HoldMin {
			return fmt.Errorf("start web server: -hold-max %v is below -hold-min %v", c.HoldMax, c.HoldMin)
		}
		if *ca != "" {
			t, err := web.LoadTLS(*cert, *key, *ca, *service)
			if err != nil {
				return fmt.Errorf("start web server: %w", err)
			}
			c.TLS = t
		}
		s := web.New(c, log)
		defer s.Close()
		return s.Serve(ctx, *address)
	}
}
