package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestMain lets the test binary play the processes: a parent for the parent-death test.
func TestMain(m *testing.M) {
	if os.Getenv("ARGOSY_TEST_PARENT") == "1" {
		parent()
		return
	}
	os.Exit(m.Run())
}

// recorder keeps what a group tells and writes.
type recorder struct {
	mu    sync.Mutex
	sets  [][]Instance
	lines []string
}

func (r *recorder) onChange(i []Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets = append(r.sets, i)
}
func (r *recorder) output(n int, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%d:%s", n, line))
}
func (r *recorder) last() []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sets) == 0 {
		return nil
	}
	return r.sets[len(r.sets)-1]
}
func (r *recorder) wrote(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if l == line {
			return true
		}
	}
	return false
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("timed out waiting until " + what)
}

// alive says whether a process runs; an orphan that the system's first process has not reaped yet does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		return !strings.Contains(string(stat), ") Z ")
	}
	return syscall.Kill(pid, 0) == nil
}

func start(t *testing.T, spec Spec) (*Group, *recorder) {
	t.Helper()
	r := &recorder{}
	spec.Name, spec.OnChange, spec.Output = t.Name(), r.onChange, r.output
	g := New(spec, hclog.NewNullLogger())
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Stop(context.Background()) })
	return g, r
}

func scale(t *testing.T, g *Group, n int) {
	t.Helper()
	if err := g.Scale(n); err != nil {
		t.Fatal(err)
	}
}

func sh(script string) []string { return []string{"sh", "-c", script} }

func TestScaleStartsAndStopsTheHighestIndex(t *testing.T) {
	g, r := start(t, Spec{Command: sh("exec sleep 1000"), Ports: []string{"admin", "l4-in"}})
	scale(t, g, 3)
	eventually(t, "three run", func() bool { return len(r.last()) == 3 })
	before := g.Instances()
	seen := map[int]bool{}
	for i, in := range before {
		if in.Index != i || !alive(in.Pid) || in.Started.IsZero() {
			t.Errorf("instance %d is %+v", i, in)
		}
		for _, label := range []string{"admin", "l4-in"} {
			if p := in.Ports[label]; p == 0 || seen[p] {
				t.Errorf("port %d of %q is zero or given out twice", p, label)
			} else {
				seen[p] = true
			}
		}
	}
	scale(t, g, 1)
	eventually(t, "one is left", func() bool { return len(r.last()) == 1 && !alive(before[2].Pid) && !alive(before[1].Pid) })
	if got := g.Instances()[0].Pid; got != before[0].Pid {
		t.Errorf("pid %d is left, want that of index 0: %d", got, before[0].Pid)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if alive(before[0].Pid) || len(r.last()) != 0 {
		t.Error("Stop left an instance behind or did not tell")
	}
	if err := g.Scale(1); !errors.Is(err, errStopped) {
		t.Errorf("scaling a stopped group: %v", err)
	}
}

func TestEnvironmentAndOutput(t *testing.T) {
	g, r := start(t, Spec{
		Command: sh(`echo "$ARGOSY_INSTANCE $GREETING $((ARGOSY_PORT_L4_IN == ${ARGOSY_PORT_L4_IN}))"; echo err >&2; printf unfinished; exec sleep 1000`),
		Env:     []string{"GREETING=hello"}, Ports: []string{"l4-in"}, StopGrace: time.Second,
	})
	scale(t, g, 2)
	eventually(t, "both have written", func() bool {
		return r.wrote("0:0 hello 1") && r.wrote("1:1 hello 1") && r.wrote("0:err")
	})
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.wrote("1:unfinished") {
		t.Errorf("the last line, without its end, is missing: %q", r.lines)
	}
}

func TestCrashedInstanceIsRestarted(t *testing.T) {
	g, r := start(t, Spec{Command: sh("exec sleep 1000"), Ports: []string{"a"}})
	scale(t, g, 2)
	eventually(t, "both run", func() bool { return len(r.last()) == 2 })
	first := g.Instances()
	syscall.Kill(first[0].Pid, syscall.SIGKILL)
	eventually(t, "it is back", func() bool {
		now := g.Instances()
		return len(now) == 2 && now[0].Pid != first[0].Pid && now[1].Pid == first[1].Pid
	})
}

func TestCrashLoopBacksOff(t *testing.T) {
	g, r := start(t, Spec{Command: sh("echo run; exit 3")})
	scale(t, g, 1)
	eventually(t, "it ran twice", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.lines) >= 2 })
	began := time.Now()
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Stop took %v while waiting to restart", took)
	}
	if n := len(r.lines); n > 6 {
		t.Errorf("%d runs, no sign of a backoff", n)
	}
}

func TestStubbornInstanceAndItsChildrenAreKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	g, r := start(t, Spec{
		Command:   sh(`trap "" TERM; sh -c 'trap "" TERM; echo $$ > ` + file + `; while :; do sleep 1; done' & while :; do sleep 1; done`),
		StopGrace: 200 * time.Millisecond,
	})
	scale(t, g, 1)
	var grandchild int
	eventually(t, "the grandchild runs", func() bool {
		b, _ := os.ReadFile(file)
		grandchild, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return grandchild != 0 && len(r.last()) == 1
	})
	pid := g.Instances()[0].Pid
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are gone", func() bool { return !alive(pid) && !alive(grandchild) })
}

func TestChildrenOfACrashedInstanceAreKilled(t *testing.T) {
	began := time.Now()
	g, r := start(t, Spec{Command: sh(`sleep 1000 & echo $!; exit 1`)})
	scale(t, g, 1)
	eventually(t, "it ran", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.lines) > 0 })
	r.mu.Lock()
	grandchild, _ := strconv.Atoi(strings.TrimPrefix(r.lines[0], "0:"))
	r.mu.Unlock()
	eventually(t, "the grandchild is gone", func() bool { return grandchild != 0 && !alive(grandchild) })
	eventually(t, "it ran again", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.lines) > 1 })
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("the next start came after %v: the old instance was waited for too long", took)
	}
}

func TestStopCutShort(t *testing.T) {
	g, r := start(t, Spec{Command: sh(`trap "" TERM; echo up; while :; do sleep 1; done`), StopGrace: time.Hour})
	scale(t, g, 1)
	eventually(t, "it ignores signals", func() bool { return r.wrote("0:up") })
	pid := g.Instances()[0].Pid
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := g.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if alive(pid) {
		t.Error("still alive")
	}
}

// An index is not given out twice: while the old holder of one drains, a new instance takes the next.
func TestIndexOfADrainingInstanceIsNotReused(t *testing.T) {
	g, r := start(t, Spec{Command: sh(`trap "" TERM; echo up; while :; do sleep 1; done`), StopGrace: 2 * time.Second})
	scale(t, g, 2)
	eventually(t, "both are up", func() bool { return r.wrote("0:up") && r.wrote("1:up") })
	scale(t, g, 1)
	scale(t, g, 2)
	eventually(t, "two run again", func() bool { return len(g.Instances()) == 2 })
	if got := g.Instances(); got[0].Index != 0 || got[1].Index != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestMistakes(t *testing.T) {
	for _, spec := range []Spec{{}, {Command: []string{"/no/such/program"}}} {
		if err := New(spec, hclog.NewNullLogger()).Start(); err == nil {
			t.Errorf("%+v: no error", spec)
		}
	}
	g, _ := start(t, Spec{Command: sh("exit")})
	if g.Scale(-1) == nil {
		t.Error("negative count accepted")
	}
}

func TestPortsAreFreeForTheChild(t *testing.T) {
	g := New(Spec{Ports: []string{"a", "b"}}, hclog.NewNullLogger())
	ports, release, err := g.takePorts()
	if err != nil {
		t.Fatal(err)
	}
	release()
	for label, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			t.Errorf("%s: %v", label, err)
			continue
		}
		l.Close()
	}
	if len(g.ports) != 2 {
		t.Errorf("%v are noted as given out", g.ports)
	}
	if g.givePortsBack(ports); len(g.ports) != 0 {
		t.Errorf("%v are left", g.ports)
	}
}

func TestPortVariable(t *testing.T) {
	if got := PortVariable("l4-in.2"); got != "ARGOSY_PORT_L4_IN_2" {
		t.Error(got)
	}
}

func parent() {
	g := New(Spec{Name: "orphan", Command: sh("exec sleep 1000")}, hclog.NewNullLogger())
	if g.Start() != nil || g.Scale(1) != nil {
		os.Exit(1)
	}
	for len(g.Instances()) == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(g.Instances()[0].Pid)
	select {}
}

func TestChildrenDieWithTheParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ARGOSY_TEST_PARENT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	if pid == 0 || !alive(pid) {
		t.Fatalf("no child: %q", line)
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the child is gone", func() bool { return !alive(pid) })
}
