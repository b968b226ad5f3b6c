package dial

import (
	"context"
	"testing"
	"time"

	"argosy/agent/outcome"
)

func TestBudget(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	retries := func(b *Budget, share float64) (n int) {
		for n < 10_000 && b.Retry(now, share) {
			n++
		}
		return n
	}
	var b Budget
	if n := retries(&b, 0.2); n != budgetFloor*budgetSeconds {
		t.Errorf("%d retries without a connection", n)
	}
	for range 100 {
		b.Connection(now)
	}
	if n := retries(&b, 0.2); n != 20 {
		t.Errorf("%d more for 100 connections", n)
	}
	if n := retries(&b, 0); n != 0 {
		t.Errorf("%d with a share of nothing", n)
	}
	now = now.Add(9 * time.Second)
	if n := retries(&b, 0.2); n != 0 {
		t.Errorf("%d after nine seconds", n)
	}
	now = now.Add(2 * time.Second)
	if n := retries(&b, 0.2); n != budgetFloor*budgetSeconds {
		t.Errorf("%d when all that is over", n)
	}
	now = now.Add(-time.Hour) // the clock has been set back
	retries(&b, 0.2)
	if !(*Budget)(nil).Retry(now, 0) {
		t.Error("no budget allows no retry")
	}
}

// A cluster in which nothing answers gets no more attempts than its connections and the budget together.
func TestConnectWithinBudget(t *testing.T) {
	var many []string
	for range 4 {
		many = append(many, refused(t))
	}
	b, pick := picker(t, many...)
	budget := &Budget{}
	const connections = 200
	attempts, over := 0, 0
	for range connections {
		budget.Connection(time.Now())
		_, _, err := Connect(context.Background(), Request{Budget: budget}, pick, always(&Policy{Retries: 3, RetryShare: 0.1}), func(a Attempt) {
			attempts++
			if a.OverBudget {
				over++
			}
		})
		check(t, err, outcome.Dial, "refused")
	}
	// The floor is that of ten seconds, and of as many more as the machine has taken for this.
	if most := connections + connections/10 + 4*budgetFloor*budgetSeconds; attempts > most || attempts < connections+budgetFloor*budgetSeconds {
		t.Errorf("%d attempts for %d connections, at most %d are allowed", attempts, connections, most)
	}
	if over == 0 || open(b) != 0 {
		t.Errorf("%d connections were told that the budget is used up, %d leases are left", over, open(b))
	}
}

func BenchmarkBudget(b *testing.B) {
	var budget Budget
	for b.Loop() {
		budget.Connection(time.Now())
	}
}
