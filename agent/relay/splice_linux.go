package relay

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what the kernel moves at once.
	pipeSize = 256 << 10
	// pipeSpare is how many pipes a worker keeps for later.
	pipeSpare = 32
	// bulkLeast is what has to come at once for a bulk transfer to stay one.
	bulkLeast = 16 << 10
)

// pipe is where the kernel puts bytes on their way from one socket to the other.
type pipe struct {
	in, out int32
	held    int
}

// acquire returns an empty pipe, or nil if there is none to be had.
func (w *worker) acquire() *pipe {
	if last := len(w.pipes) - 1; last >= 0 {
		p := w.pipes[last]
		w.pipes = w.pipes[:last]
		return p
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // where it is refused, a smaller one does
	return &pipe{in: int32(fds[1]), out: int32(fds[0])}
}

// release gives a pipe back. What is in it is dropped.
func (w *worker) release(p *pipe) {
	if p.held > 0 || len(w.pipes) >= pipeSpare {
		p.close()
		return
	}
	w.pipes = append(w.pipes, p)
}

func (p *pipe) close() {
	unix.Close(int(p.in))
	unix.Close(int(p.out))
}

// splicable reports whether the kernel can move the pair's bytes.
func (j *pair) splicable() bool {
	c, s := &j.ends[0], &j.ends[1]
	return c.tls == nil && s.tls == nil && !c.unix && !s.unix
}

// splice has the kernel move bytes from end i to the other one. False means that there is nothing to go on with.
func (j *pair) splice(i int) (int, bool) {
	w, from, to := j.worker, &j.ends[i], &j.ends[1-i]
	p := w.acquire()
	if p == nil {
		from.bulk = false
		return 0, true
	}
	total := 0
	for total < turn {
		n, errno := rawSplice(from.fd, p.in, pipeSize)
		switch {
		case errno == unix.EAGAIN:
			from.readable = false
			from.bulk = total >= bulkLeast
			w.release(p)
			return total, true
		case errno == unix.EINVAL && total == 0:
			from.bulk, from.unix = false, true // not to be tried again
			w.release(p)
			return 0, true
		case errno != 0:
			w.release(p)
			j.readFailed(i, os.NewSyscallError("splice", errno))
			return total, false
		case n == 0:
			w.release(p)
			from.eof = true
			return total, true
		}
		total += n
		p.held = n
		if !j.empty(1-i, p) {
			if j.ends[i].over { // lost
				w.release(p)
				return total, false
			}
			to.out = &outflow{pipe: p}
			return total, false
		}
	}
	w.release(p)
	return total, true
}

// empty moves what is in p to end i. False means that not all has been taken, or that the end is lost.
func (j *pair) empty(i int, p *pipe) bool {
	e := &j.ends[i]
	for p.held > 0 {
		n, errno := rawSplice(p.out, e.fd, p.held)
		switch {
		case errno == unix.EAGAIN:
			j.block(i)
			return false
		case errno != 0:
			j.lost(i, os.NewSyscallError("splice", errno))
			return false
		}
		p.held -= n
		j.moved(1-i, n)
	}
	return true
}
