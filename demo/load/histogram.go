package load

import (
	"math"
	"time"
)

// Buckets grow by 4 % from 100 us to about 90 s.
const (
	buckets    = 350
	smallest   = 100 * time.Microsecond
	growth     = 1.04
	lastBucket = buckets - 1
)

// Histogram counts latencies in buckets that grow by 4 %. It is a value: subtracting an older one gives the time between.
type Histogram [buckets]uint64

func (h *Histogram) add(d time.Duration) {
	i := 0
	if d > smallest {
		i = min(lastBucket, 1+int(math.Log(float64(d)/float64(smallest))/math.Log(growth)))
	}
	h[i]++
}

// Sub returns what was added to h since older.
func (h Histogram) Sub(older Histogram) Histogram {
	for i := range h {
		h[i] -= older[i]
	}
	return h
}

// Quantile returns an upper bound of the latency that a share q of the requests did not exceed; 0 without requests.
func (h Histogram) Quantile(q float64) time.Duration {
	var total uint64
	for _, n := range h {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for i, n := range h {
		if seen += n; seen >= max(rank, 1) {
			return time.Duration(float64(smallest) * math.Pow(growth, float64(i)))
		}
	}
	return time.Duration(float64(smallest) * math.Pow(growth, lastBucket))
}
