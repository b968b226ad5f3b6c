package agent

import "runtime/debug"

const (
	// tidyAfter is for how many seconds no connection must have come or gone.
	tidyAfter = 2
	// tidyFor is how many must have come or gone before that, for it to be worth a collection.
	tidyFor = 1000
)

// tidiness gives memory back to the system when it has become quiet after much has come and gone: what new connections
// needed on their way would otherwise stay with the process until the next collection, which idle ones never cause.
type tidiness struct {
	done   uint64 // comings and goings when it was last done
	last   uint64 // at the last look
	quiet  int    // seconds
	giveUp func() // back to the system; debug.FreeOSMemory unless set
}

// look is called every second with the number of connections that have come or gone so far.
func (t *tidiness) look(moves uint64) {
	if moves != t.last {
		t.last, t.quiet = moves, 0
		return
	}
	if t.quiet++; t.quiet != tidyAfter || moves-t.done < tidyFor {
		return
	}
	t.done = moves
	if t.giveUp == nil {
		debug.FreeOSMemory()
		return
	}
	t.giveUp()
}
