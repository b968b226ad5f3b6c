package config

import (
	"time"

	"argosy/internal/hclx"
)

// Binding is how names are bound for those who ask.
type Binding struct {
	EmptyStops         bool          // an alternative without endpoints is used all the same
	AlternativeTimeout time.Duration // how long one that is not known holds up the next; 0: for ever
	MaxWatches         int           // at a time
}

// rawBinding has the options of an agent's `dtab` block. Agents bind by their own: give both the same, so that namerd
// shows what agents do.
type rawBinding struct {
	// What an alternative without endpoints is: in `/a | /b`, with `next`, b is used while a is known and has none; with
	// `stop`, a is used all the same, as in Namerd.
	OnEmpty hclx.Attr `hcl:"on_empty,optional" type:"string" default:"next"`
	// How long an alternative of which nothing is known yet holds up the next one; it is used as soon as it is known. `0s`:
	// until it is known, as in Namerd.
	AlternativeTimeout hclx.Attr `hcl:"alternative_timeout,optional" type:"duration" default:"2s"`
	// How many names of services are followed at a time, for all who ask together.
	MaxWatches hclx.Attr `hcl:"max_watches,optional" type:"number" default:"10000"`
}

func loadBinding(d *hclx.Decoder, raw *rawBinding) Binding {
	b := hclx.OrDefault(raw)
	return Binding{
		EmptyStops:         d.OneOf(b.OnEmpty, "next", "stop") == "stop",
		AlternativeTimeout: d.Duration(b.AlternativeTimeout, 0, time.Hour),
		MaxWatches:         d.Int(b.MaxWatches, 1, 1_000_000),
	}
}
