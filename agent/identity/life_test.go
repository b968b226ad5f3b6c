package identity

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// An identity that takes the place of another one can do at once what that one could, also where nobody answers.
func TestInherit(t *testing.T) {
	f, client := newFakeConsul(t)
	f.rules["db"] = []*api.Intention{intention("web", "allow", 9)}
	web, db := run(t, client, "web"), run(t, client, "db")
	ready(t, web, db)
	_, nobody := newFakeConsul(t)
	next := NewConnect(nobody, "db", testLogger(t), prometheus.NewRegistry())
	if err := next.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("ready without having asked: %v", err)
	}
	next.Inherit(db)
	if _, serverErr, clientErr := shake(t, next.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
	if _, serverErr, _ := shake(t, next.Server(), to(t, db, "db")); !errors.Is(serverErr, ErrDenied) {
		t.Errorf("denied before: %v", serverErr)
	}
	empty := NewConnect(nobody, "db", testLogger(t), nil)
	empty.Inherit(NewConnect(nobody, "db", testLogger(t), nil)) // of one that knows nothing
	if err := empty.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("ready with nothing: %v", err)
	}
}

// Metrics of an identity that has ended go with it, unless there is another one for the same service.
func TestMetricsEnd(t *testing.T) {
	t.Parallel()
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	reg := prometheus.NewRegistry()
	begin := func() (c *Connect, end func()) {
		c = NewConnect(client, "web", testLogger(t), reg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		ready(t, c)
		return c, func() {
			cancel()
			<-done
		}
	}
	gauges := func() (n int) {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range all {
			if family.GetType() == dto.MetricType_GAUGE {
				n += len(family.Metric)
			}
		}
		return n
	}
	_, endFirst := begin()
	if gauges() < 3 {
		t.Errorf("%d metrics", gauges())
	}
	second, endSecond := begin()
	endFirst()
	eventually(t, func() error { // the second one tells again
		if valueOf(t, second.metrics.expiry.WithLabelValues("web")) == 0 {
			return errors.New("no expiry")
		}
		return nil
	})
	endSecond()
	if n := gauges(); n != 0 {
		t.Errorf("%d metrics of nobody", n)
	}
}

func TestConnectImplementsIdentity(t *testing.T) {
	var _ Identity = (*Connect)(nil)
	var _ Identity = (*Files)(nil)
}

// An answer about the default that does not come holds up no end, and so no reload.
func TestEndWhileConsulIsSilent(t *testing.T) {
	f, client := newFakeConsul(t)
	f.silent["/authorize"] = true
	defer f.change(func() { delete(f.silent, "/authorize") })
	db := NewConnect(client, "db", testLogger(t), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	eventually(t, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !slices.Contains(f.paths, "/v1/agent/connect/authorize") {
			return errors.New("not asked")
		}
		return nil
	})
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second): // the client's own limit is 10 s
		t.Error("it waits for the answer")
	}
}
