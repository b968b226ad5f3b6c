package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// marker is the environment variable that all processes of a stack carry, and that they hand on to their children. It
// is how Close finds those that have lost their parent.
const marker = "ARGOSY_STACK"

// Proc is a process that the stack started. Its methods may be called from any goroutine.
type Proc struct {
	Name string
	Log  string // file with its standard output and error

	cmd     *exec.Cmd
	done    chan struct{}
	err     error // after done
	started time.Time
}

// Go starts a program in a process group of its own. env is added to the stack's Env. Its output goes to logs/NAME.log;
// a second process of that name continues the file. It ends with the stack at the latest, also when the process that
// started it dies without closing the stack.
func (s *Stack) Go(name, program string, args []string, env ...string) (*Proc, error) {
	return s.launch(name, program, args, append(s.Env(), env...))
}

func (s *Stack) launch(name, program string, args, env []string) (*Proc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("start %s: the stack is closed", name)
	}
	p := &Proc{Name: name, Log: s.Path("logs", name+".log"), done: make(chan struct{}), started: time.Now()}
	f, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer f.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = s.Dir
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	s.procs = append(s.procs, p)
	return p, nil
}

// Pid is the process id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process alone.
func (p *Proc) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Wait waits for the end and returns the exit code, or -1 when a signal ended the process.
func (p *Proc) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s has not ended: %w", p.Name, ctx.Err())
	}
}

// Stop asks the process to end, waits, and then kills it with its process group. It is an error when it had to.
func (p *Proc) Stop(grace time.Duration) error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	var err error
	select {
	case <-p.done:
	case <-timer.C:
		err = fmt.Errorf("%s did not end within %s of SIGTERM", p.Name, grace)
	}
	p.Kill()
	return err
}

// Kill ends the process and its process group at once.
func (p *Proc) Kill() {
	select {
	case <-p.done: // its id may be another's by now; what it left behind is found when the stack is closed
	default:
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// Output is all that the process, and earlier ones of the same name, have printed.
func (p *Proc) Output() string {
	b, _ := os.ReadFile(p.Log)
	return string(b)
}

// alive is an error once the process has ended, with the end of its log: it makes waiting for it to get ready stop early.
func (p *Proc) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended (%w):\n%s", p.Name, errors.Join(p.err, errEnded), tail(p.Log, 20))
	default:
		return nil
	}
}

var errEnded = errors.New("process ended")

// Env is the environment of the stack's processes: that of the caller without what concerns other Consuls and Nomads,
// with the addresses of this stack's.
func (s *Stack) Env() []string {
	env := s.bareEnv()
	if s.Consul != nil {
		env = append(env, "CONSUL_HTTP_ADDR="+s.Consul.Addr)
	}
	if s.Nomad != nil {
		env = append(env, "NOMAD_ADDR="+s.Nomad.URL)
	}
	return env
}

// bareEnv has no addresses: servers get them from their configuration, and Nomad's tasks, which inherit its environment,
// are to get them from their jobs. Temporary files go to the stack's folder, since Nomad forgets some of its own.
func (s *Stack) bareEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "CONSUL_") || strings.HasPrefix(name, "NOMAD_") || strings.HasPrefix(name, "VAULT_") || name == marker {
			continue
		}
		env = append(env, e)
	}
	return append(env, marker+"="+s.Dir, "TMPDIR="+s.Path("tmp"), "CHECKPOINT_DISABLE=1", "NO_COLOR=1")
}

// Run runs a program to its end and returns what it printed, the error stream included.
func (s *Stack) Run(ctx context.Context, program string, args ...string) (string, error) {
	return s.RunInput(ctx, "", program, args...)
}

// RunInput is Run with a standard input. The names consul and nomad mean the stack's.
func (s *Stack) RunInput(ctx context.Context, input, program string, args ...string) (string, error) {
	path := program
	if program == "consul" || program == "nomad" {
		var err error
		if path, err = s.server(ctx, program); err != nil {
			return "", err
		}
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = s.Env()
	cmd.Stdin = strings.NewReader(input)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

// logFiles are the logs of the stack's processes, and of the tasks that Nomad runs.
func (s *Stack) logFiles() []string {
	paths, _ := filepath.Glob(s.Path("logs", "*.log"))
	tasks, _ := filepath.Glob(s.Path("nomad", "alloc", "*", "alloc", "logs", "*.std*.[0-9]*"))
	return append(paths, tasks...)
}

// races returns what the race detector has reported, of the first process that has met one.
func (s *Stack) races() string {
	for _, p := range s.logFiles() {
		b, _ := os.ReadFile(p)
		if i := bytes.Index(b, []byte("WARNING: DATA RACE")); i >= 0 {
			return p + "\n" + string(b[i:min(len(b), i+4000)])
		}
	}
	return ""
}

// Logs returns the last lines of every log.
func (s *Stack) Logs(lines int) string {
	var b strings.Builder
	for _, p := range s.logFiles() {
		if text := tail(p, lines); text != "" {
			fmt.Fprintf(&b, "--- %s\n%s\n", p, text)
		}
	}
	return b.String()
}

func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
