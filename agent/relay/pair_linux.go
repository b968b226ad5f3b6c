package relay

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

// edges is what a worker wants to hear of a connection. That it takes bytes again is asked for once it has not, because
// the kernel tells it also when nobody waits for it.
const edges = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// turn is how many bytes one direction may move before the other connections of the worker have theirs.
const turn = 256 << 10

// pair is a pair in a loop. All but active belongs to the worker's thread. There may be very many, so it is small.
type pair struct {
	worker   *worker
	meter    *Meter
	done     func(Result)
	limits   *limits   // nil: none
	dialling *Accepted // nil once joined
	fate     *Result   // nil: not decided yet, or OK

	began    int64
	answered int64        // when the server's first byte came
	active   atomic.Int64 // when something moved last

	ends  [2]end // the client's, the server's
	slot  uint32
	timer int32 // its place in the worker's heap, from 1

	first   Side
	queued  bool
	touched bool // it is in the worker's list of that name
	spoken  bool // the client has sent something
	broken  bool // close by reset
	dead    bool
}

// end is one connection of a pair.
type end struct {
	tls *Carrier // nil: plain
	out *outflow // nil: all that was for it has been sent
	fd  int32

	full     uint8 // full reads in a row
	unix     bool
	watched  bool // the worker hears when it takes bytes
	readable bool // there may be something to read
	raw      bool // likewise, below TLS
	hup      bool // the end of input is on its way, so a short read does not mean that nothing is left
	blocked  bool // it takes nothing at the moment
	bulk     bool // its input is moved by the kernel
	eof      bool // its input has ended
	notified bool // close_notify has been sent
	over     bool // its input has ended and so has, for that, the other's output
}

// begin takes over what is known of p.
func (j *pair) begin(p Pair, done func(Result)) {
	j.meter, j.done = p.Meter, done
	j.began = j.worker.loop.now()
	j.active.Store(j.began)
	j.spoken = len(p.Early) > 0
	if p.Idle|p.HalfClose|p.Lifetime|p.FirstByte != 0 {
		j.limits = &limits{idle: int64(p.Idle), halfClose: int64(p.HalfClose), lifetime: int64(p.Lifetime), firstByte: int64(p.FirstByte)}
	}
}

// register has the worker hear of an end. It hears at once of what is there already.
func (j *pair) register(i, op int) error {
	w, e := j.worker, &j.ends[i]
	ev := unix.EpollEvent{Events: edges, Fd: int32(j.slot)<<1 | int32(i), Pad: w.slots[j.slot].generation}
	if e.watched {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", errnoErr(rawRegister(w.epfd, op, e.fd, &ev)))
}

// block notes that an end takes no more bytes for now.
func (j *pair) block(i int) {
	e := &j.ends[i]
	e.blocked = true
	if !e.watched {
		e.watched = true
		if j.register(i, unix.EPOLL_CTL_MOD) != nil { // no memory, which MOD does not need
			e.blocked, e.watched = false, false
		}
	}
}

func errnoErr(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// start moves what is there already.
func (j *pair) start(early []byte) {
	j.retime()
	for i := range j.ends {
		if e := &j.ends[i]; e.tls != nil { // which may hold what the kernel does not know of
			e.readable = true
			j.worker.loop.innards.release(e.tls.conn) // what the handshake needed
		}
	}
	if len(early) > 0 {
		j.pass(0, early)
	}
	j.worker.queue(j)
}

// event notes what the kernel tells about an end.
func (j *pair) event(i int, events uint32) {
	e := &j.ends[i]
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.readable, e.raw = true, true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.hup = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.blocked = false
	}
	if j.dialling != nil {
		j.dialling.event(i, events)
		return
	}
	if events&unix.EPOLLERR != 0 && e.eof && !j.ends[1-i].over {
		// Its last words are through. Nobody else would find out that it takes nothing any more.
		if errno, _ := unix.GetsockoptInt(int(e.fd), unix.SOL_SOCKET, unix.SO_ERROR); errno != 0 {
			j.lost(i, syscall.Errno(errno))
		}
	}
	j.work()
}

// work moves what can be moved.
func (j *pair) work() {
	if j.dialling != nil {
		j.dialling.work()
		return
	}
	for i := range j.ends {
		if j.pump(i); j.dead {
			return
		}
	}
	if j.ends[0].over && j.ends[1].over {
		j.finish()
	}
}

// pump moves bytes from an end to the other until there are no more, they are not taken, or it is the turn of others.
func (j *pair) pump(i int) {
	from, to := &j.ends[i], &j.ends[1-i]
	for left := turn; ; {
		if to.out != nil && !j.flush(1-i) {
			return
		}
		switch {
		case from.over:
			return
		case from.eof:
			j.passEnd(i)
			return
		case !from.readable:
			return
		case left <= 0:
			j.worker.queue(j)
			return
		}
		var n int
		var ok bool
		switch {
		case from.tls != nil:
			n, ok = j.readTLS(i)
		case from.bulk:
			n, ok = j.splice(i)
		default:
			n, ok = j.read(i)
		}
		if left -= n; !ok {
			return
		}
	}
}

// read moves what one read gives. False means that there is nothing to go on with.
func (j *pair) read(i int) (int, bool) {
	from, buf := &j.ends[i], j.worker.buf[:]
	n, errno := rawRead(from.fd, buf)
	switch {
	case errno == unix.EAGAIN:
		from.readable = false
		return 0, true
	case errno != 0:
		j.readFailed(i, os.NewSyscallError("read", errno))
		return 0, false
	case n == 0:
		from.eof = true
		return 0, true
	}
	if n < len(buf) {
		from.full = 0
		if !from.hup {
			from.readable = false
		}
	} else if from.full++; from.full >= bulkAfter && j.splicable() {
		from.full, from.bulk = 0, true
	}
	return n, j.pass(i, buf[:n])
}

// pass gives what has been read from end i to the other one. False means that it is lost.
func (j *pair) pass(i int, b []byte) bool {
	if to := &j.ends[1-i]; to.tls != nil {
		_, err := to.tls.conn.Write(b)
		if err != nil {
			j.worker.cipher = j.worker.cipher[:0]
			j.lost(1-i, err)
			return false
		}
		j.moved(i, len(b))
		return j.deliver(1 - i)
	}
	return j.send(1-i, b)
}

// moved notes that n bytes from end i have been passed on.
func (j *pair) moved(i, n int) {
	w := j.worker
	j.active.Store(w.now)
	j.meter.add(Side(i+1), int64(n))
	if i == 0 {
		j.spoken = true
	} else if j.answered == 0 {
		j.answered = max(w.now, j.began+1)
	}
}

// passEnd makes the end of the input of i the end of the other's output.
func (j *pair) passEnd(i int) {
	from, to := &j.ends[i], &j.ends[1-i]
	if j.broken { // the other side is to see a reset, not an end
		from.over = true
		return
	}
	if j.first == Neither {
		j.first = Side(i + 1)
	}
	if to.tls != nil && !to.notified {
		to.notified = true
		to.tls.conn.CloseWrite()
		if !j.deliver(1-i) || to.out != nil {
			return
		}
	}
	from.over = true
	if !to.over { // else closing says it
		rawShutdown(to.fd) // fails where the peer has closed both directions before, which is no harm to it
		j.active.Store(j.worker.now)
		j.retime()
	}
}

// lost notes that end i takes nothing any more. What it had said before may still lie in its socket and goes through.
func (j *pair) lost(i int, err error) {
	j.breaks(Side(i+1), outcome.Reset, fmt.Errorf("writing to the %s: %w", Side(i+1), err))
	e := &j.ends[i]
	if e.out != nil {
		j.worker.drop(e)
	}
	j.ends[1-i].over = true
	e.readable, e.raw, e.hup = true, true, true
	j.worker.queue(j)
}

// readFailed ends the pair by reset.
func (j *pair) readFailed(i int, err error) {
	j.breaks(Side(i+1), classify(err, i == 1 && j.answered == 0), fmt.Errorf("reading from the %s: %w", Side(i+1), err))
	j.finish()
}

// breaks decides the result unless something else has.
func (j *pair) breaks(s Side, o outcome.Outcome, err error) {
	if j.fate != nil {
		return
	}
	if j.first == Neither {
		j.first = s
	}
	j.broken = true
	j.fate = &Result{Outcome: o, Err: err}
}

// end ends the pair from our side.
func (j *pair) end(o outcome.Outcome) {
	if j.fate == nil {
		j.fate = &Result{Outcome: o}
	}
	j.finish()
}

// Cut is that of Link.
func (j *pair) Cut(o outcome.Outcome) {
	j.worker.post(func() {
		if !j.dead && j.dialling == nil {
			j.end(o)
		}
	})
}

// Quiet is that of Link.
func (j *pair) Quiet() time.Duration {
	return time.Duration(j.worker.loop.now() - j.active.Load())
}

// finish closes both ends and tells the result.
func (j *pair) finish() {
	j.dead = true
	for i := range j.ends {
		j.shut(i)
	}
	w := j.worker
	w.disarm(j)
	w.leave(j)
	r := Result{Outcome: outcome.OK}
	if j.fate != nil {
		r = *j.fate
	}
	r.First = j.first
	if j.answered > 0 {
		r.Answered = time.Duration(j.answered - j.began)
	}
	done := j.done
	j.done, j.limits = nil, nil
	done(r)
	w.loop.pairs.Done()
}

// shut closes an end, by reset if the pair is broken.
func (j *pair) shut(i int) {
	e := &j.ends[i]
	if e.fd < 0 {
		return
	}
	if e.tls != nil && !j.broken && !e.notified && e.out == nil {
		e.tls.conn.CloseWrite()
		rawSend(e.fd, j.worker.cipher)
	}
	j.worker.cipher = j.worker.cipher[:0]
	if e.out != nil {
		j.worker.drop(e)
	}
	if j.broken {
		rawReset(e.fd)
	} else {
		rawClose(e.fd)
	}
	e.fd, e.tls = -1, nil
}

var errTakesNothing = errors.New("its peer asks for answers and does not take them")
